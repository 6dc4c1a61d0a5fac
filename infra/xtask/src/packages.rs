//! Packages of the distribution.

use std::process::Command;

use anyhow::{Result, bail};
use chat_local::programs;

use crate::steps;

/// A program and the Debian package that has it.
pub struct Package {
    pub program: &'static str,
    pub name: &'static str,
}

pub const STORES: [Package; 4] = [
    Package {
        program: "postgres",
        name: "postgresql",
    },
    Package {
        program: "redis-server",
        name: "redis-server",
    },
    Package {
        program: "rabbitmq-server",
        name: "rabbitmq-server",
    },
    Package {
        program: "nginx",
        name: "nginx-light",
    },
];

/// For tests that move a clock.
pub const CLOCK: [Package; 1] = [Package {
    program: "faketime",
    name: "faketime",
}];

pub const BROWSER: [Package; 1] = [Package {
    program: "chromium",
    name: "chromium",
}];

/// For a node that runs Pods.
pub const NODE: [Package; 6] = [
    Package {
        program: "containerd",
        name: "containerd",
    },
    Package {
        program: "runc",
        name: "runc",
    },
    Package {
        program: "/usr/lib/cni/bridge",
        name: "containernetworking-plugins",
    },
    Package {
        program: "iptables",
        name: "iptables",
    },
    Package {
        program: "ip",
        name: "iproute2",
    },
    Package {
        program: "tini",
        name: "tini",
    },
];

/// For container images without a container engine.
pub const IMAGES: [Package; 3] = [
    Package {
        program: "mmdebstrap",
        name: "mmdebstrap",
    },
    Package {
        program: "nginx",
        name: "nginx-light",
    },
    Package {
        program: "strip",
        name: "binutils",
    },
];

/// Installs what is missing, after saying so; or says the line to run.
pub fn install(wanted: &[Package]) -> Result<()> {
    let missing: Vec<_> = wanted
        .iter()
        .filter(|package| programs::find(package.program).is_none())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let line = format!("apt-get install --no-install-recommends {packages}");
    let Some(prefix) = privilege() else {
        bail!("These packages are missing: {packages}. Run once, as root: {line}");
    };
    if programs::find("apt-get").is_none() {
        bail!(
            "These programs are missing and this machine has no apt-get: {packages}. Install them and try again."
        );
    }
    steps::say(&format!("installing from the distribution: {packages}"));
    for arguments in [
        vec!["apt-get", "update", "-qq"],
        [
            vec![
                "apt-get",
                "install",
                "-qq",
                "--yes",
                "--no-install-recommends",
            ],
            missing,
        ]
        .concat(),
    ] {
        let mut words = prefix.iter().copied().chain(
            // The system's own instances are not ours to start, with or without systemd.
            [
                "env",
                "RUNLEVEL=1",
                "SYSTEMD_OFFLINE=1",
                "DEBIAN_FRONTEND=noninteractive",
            ]
            .into_iter()
            .chain(arguments),
        );
        let Some(program) = words.next() else {
            continue;
        };
        steps::run(Command::new(program).args(words))?;
    }
    Ok(())
}

/// What to put before a command that needs root: nothing for root itself.
fn privilege() -> Option<&'static [&'static str]> {
    let says = |program: &str, arguments: &[&str]| Command::new(program).args(arguments).output();
    if says("id", &["-u"]).is_ok_and(|output| output.stdout.starts_with(b"0\n")) {
        return Some(&[]);
    }
    says("sudo", &["-n", "true"])
        .is_ok_and(|output| output.status.success())
        .then_some(&["sudo", "-n"])
}
