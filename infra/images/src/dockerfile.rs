//! How a container is started is said once: in the last stage of a Dockerfile.

use anyhow::{Context, Result, bail, ensure};

use crate::archive::{Config, Nothing};

/// The configuration of an image from `scratch`. An instruction that would add
/// something else to the image is an error.
pub fn last_stage(text: &str) -> Result<Config> {
    let (_, stage) = text.rsplit_once("\nFROM ").context("no stage in it")?;
    let mut lines = stage.lines();
    ensure!(
        lines.next() == Some("scratch"),
        "its image is not made from scratch"
    );
    let mut config = Config::default();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (instruction, value) = line.split_once(' ').context("half a line")?;
        match instruction {
            "COPY" => {}
            "USER" => config.user = value.into(),
            "EXPOSE" => drop(
                config
                    .exposed_ports
                    .insert(format!("{value}/tcp"), Nothing {}),
            ),
            "STOPSIGNAL" => config.stop_signal = Some(value.into()),
            "ENTRYPOINT" => config.entrypoint = serde_json::from_str(value)?,
            other => bail!("{other} is not known here"),
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"FROM debian AS build
USER root
RUN make

# Small.
FROM scratch
COPY --from=build /rootfs /
USER 10001:10001
EXPOSE 3000
STOPSIGNAL SIGQUIT
ENTRYPOINT ["/app", "-c", "file"]
"#;

    #[test]
    fn the_last_stage_says_how_a_container_is_started() -> Result<()> {
        assert_eq!(
            last_stage(TEXT)?,
            Config {
                user: "10001:10001".into(),
                exposed_ports: [("3000/tcp".into(), Nothing {})].into(),
                entrypoint: ["/app", "-c", "file"].map(Into::into).into(),
                stop_signal: Some("SIGQUIT".into()),
                ..Config::default()
            }
        );
        Ok(())
    }

    #[test]
    fn what_would_be_left_out_is_an_error() {
        assert!(last_stage(&format!("{TEXT}VOLUME /data\n")).is_err());
        assert!(last_stage(&TEXT.replace("scratch", "debian")).is_err());
    }
}
