//! `operator check-ready`: asks an operator whether it is ready. `helm test` runs
//! it from the operator's own image, so that no other image is needed.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any status line.
const STATUS_LINE: u64 = 256;

#[derive(clap::Args)]
pub struct Args {
    /// Where to ask, such as `http://chat-operator:9000/readyz`.
    #[arg(long)]
    url: Uri,
}

/// Ends well when the answer is 200.
///
/// # Errors
/// When nobody answers in time, or with another status.
pub async fn run(args: &Args) -> Result<()> {
    let url = &args.url;
    let status = tokio::time::timeout(PATIENCE, status_of(url))
        .await
        .with_context(|| format!("{url} did not answer within {} s", PATIENCE.as_secs()))??;
    if status != "200" {
        bail!("{url} answered {status}");
    }
    Ok(())
}

async fn status_of(url: &Uri) -> Result<String> {
    let host = url.host().with_context(|| format!("{url} has no host"))?;
    let port = url.port_u16().unwrap_or(80);
    let mut connection = TcpStream::connect((host.trim_matches(['[', ']']), port))
        .await
        .with_context(|| format!("{url} cannot be reached"))?;
    let path = url.path();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection
        .take(STATUS_LINE)
        .read_to_end(&mut answer)
        .await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split_ascii_whitespace().nth(1);
    Ok(status.context("the answer is not HTTP")?.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    async fn check(status: StatusCode) -> Result<()> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/readyz", listener.local_addr()?).parse()?;
        let router = Router::new().route("/readyz", get(async move || status));
        tokio::spawn(async move { axum::serve(listener, router).await });
        run(&Args { url }).await
    }

    #[tokio::test]
    async fn an_operator_that_is_ready_passes() -> Result<()> {
        check(StatusCode::OK).await
    }

    #[tokio::test]
    async fn an_operator_that_is_not_ready_fails_with_its_status() {
        let error = check(StatusCode::SERVICE_UNAVAILABLE).await.unwrap_err();
        assert!(error.to_string().ends_with("answered 503"), "{error}");
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_the_address() -> Result<()> {
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let url = format!("http://{free}/readyz").parse()?;
        let error = run(&Args { url }).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("http://{free}/readyz cannot be reached")
        );
        Ok(())
    }
}
