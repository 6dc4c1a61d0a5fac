//! PostgreSQL, RabbitMQ and Redis for tests. They have what the operator's scripts
//! find in the official images: a shell, the usual programs, and the store's own.

use anyhow::{Context, Result};

use crate::archive::{Config, Draft, Image};
use crate::{debian, folder};

/// A store whose image is made here.
pub struct Store {
    /// `chatcluster-test/postgres:15`
    pub image: &'static str,
    packages: &'static str,
    /// The starts of what is left out.
    without: &'static [&'static str],
    /// Where its programs are, besides the usual folders.
    programs: &'static str,
}

impl Store {
    pub const POSTGRES: Self = Self {
        image: "chatcluster-test/postgres:15",
        packages: "postgresql-15",
        // The compiler of queries, which the operator's settings turn off.
        without: &[
            "usr/lib/x86_64-linux-gnu/libLLVM",
            "usr/lib/x86_64-linux-gnu/libz3",
            "usr/lib/postgresql/15/lib/bitcode",
            "usr/share/i18n",
        ],
        programs: "/usr/lib/postgresql/15/bin",
    };
    pub const RABBITMQ: Self = Self {
        image: "chatcluster-test/rabbitmq:3.10",
        packages: "rabbitmq-server",
        without: &["usr/lib/python", "usr/share/python"],
        programs: "/usr/lib/rabbitmq/bin",
    };
    pub const REDIS: Self = Self {
        image: "chatcluster-test/redis:7.0",
        packages: "redis-server",
        without: &[],
        programs: "",
    };
    const ALL: [Self; 3] = [Self::POSTGRES, Self::RABBITMQ, Self::REDIS];

    /// Downloads and unpacks the packages when the image is not there yet.
    pub fn image(&self) -> Result<Image> {
        let key = debian::key(&[self.image, include_str!("stores.rs")].concat());
        if let Some(image) = Image::find(&folder(), self.image, &key)? {
            return Ok(image);
        }
        let path = [self.programs, "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        let path = path.map(str::to_owned).into_iter();
        let path: Vec<_> = path.filter(|it| !it.is_empty()).collect();
        let draft = Draft {
            name: self.image.into(),
            layers: vec![
                debian::unpack(self.packages, self.without)
                    .with_context(|| format!("{} cannot be made", self.image))?,
            ],
            config: Config {
                user: "10001:10001".into(),
                env: vec![format!("PATH={}", path.join(":")), "LANG=C.UTF-8".into()],
                ..Config::default()
            },
        };
        draft.write_keyed(&folder(), &key)
    }
}

/// All three. The first time takes about a minute.
pub fn stores() -> Result<Vec<Image>> {
    Store::ALL.iter().map(Store::image).collect()
}
