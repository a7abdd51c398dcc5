//! The configuration of `server serve`: flags over environment over file over defaults, checked before anything is opened.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::limits::{CONNECTIONS, IDLE, VERIFIES_PER_MINUTE};
use crate::log::Format;

/// Where the server listens by default.
pub(crate) const LISTEN: &str = "127.0.0.1:7700";

/// A configuration file is small; what is larger is none.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What may be set by flag, environment or file. All of it may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// The database that was indexed.
    #[arg(long, env = "BALCAO_DB")]
    pub(crate) db: Option<PathBuf>,
    /// The index's folder.
    #[arg(long, env = "BALCAO_INDEX")]
    pub(crate) index: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:7700].
    #[arg(long, env = "BALCAO_LISTEN")]
    pub(crate) listen: Option<String>,
    /// Threads that serve the sessions [default: one for each core].
    #[arg(long, env = "BALCAO_WORKERS")]
    pub(crate) workers: Option<NonZero<usize>>,
    /// Connections at once [default: 12000].
    #[arg(long, env = "BALCAO_CONNECTIONS")]
    pub(crate) connections: Option<NonZero<usize>>,
    /// Seconds after which a connection that asks nothing is closed [default: 1800].
    #[arg(long, env = "BALCAO_IDLE_SECONDS")]
    pub(crate) idle_seconds: Option<NonZero<u32>>,
    /// Questions of the kind `verify` that a connection may ask in a minute; 0 switches them off [default: 60].
    #[arg(long, env = "BALCAO_VERIFIES_PER_MINUTE", value_name = "N")]
    pub(crate) verifies_per_minute: Option<u32>,
    /// Listen beyond this machine without encryption and keys: anybody who reaches the port reads the registry.
    #[arg(long, env = "BALCAO_INSECURE", num_args = 0..=1, default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) insecure: Option<bool>,
    /// The least level of the log: error, warn, info, debug [default: info].
    #[arg(long, env = "BALCAO_LOG_LEVEL")]
    pub(crate) log_level: Option<tracing_level::Level>,
    /// The log's form on standard error [default: text].
    #[arg(long, env = "BALCAO_LOG_FORMAT")]
    pub(crate) log_format: Option<Format>,
}

/// Levels of the log by name.
pub(crate) mod tracing_level {
    use super::Deserialize;

    /// The least level that is logged.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
    #[serde(rename_all = "lowercase")]
    pub(crate) enum Level {
        Error,
        Warn,
        Info,
        Debug,
    }
}

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) db: PathBuf,
    pub(crate) index: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) connections: usize,
    pub(crate) idle: Duration,
    pub(crate) verifies_per_minute: u32,
}

impl Settings {
    /// Reads a TOML file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let bytes = fs::metadata(path).with_context(|| format!("cannot read the configuration {shown}"))?.len();
        if bytes > FILE_BYTES_MAX {
            bail!("the configuration {shown} has {bytes} bytes; at most {FILE_BYTES_MAX} make sense");
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read the configuration {shown}"))?;
        toml::from_str(&text).with_context(|| format!("the configuration {shown} is not right"))
    }

    /// These settings, and where one is missing that of `below`.
    pub(crate) fn over(self, below: Self) -> Self {
        Self {
            db: self.db.or(below.db),
            index: self.index.or(below.index),
            listen: self.listen.or(below.listen),
            workers: self.workers.or(below.workers),
            connections: self.connections.or(below.connections),
            idle_seconds: self.idle_seconds.or(below.idle_seconds),
            verifies_per_minute: self.verifies_per_minute.or(below.verifies_per_minute),
            insecure: self.insecure.or(below.insecure),
            log_level: self.log_level.or(below.log_level),
            log_format: self.log_format.or(below.log_format),
        }
    }

    /// Checks the settings and fills in the defaults.
    pub(crate) fn check(self) -> Result<Config> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let db = self.db.context("no database is named; give --db FILE")?;
        let index = self.index.context("no index is named; give --index FOLDER")?;
        let listen = self.listen.as_deref().unwrap_or(LISTEN);
        let address = listen
            .to_socket_addrs()
            .with_context(|| format!("`{listen}` is no address with a port, like {LISTEN}"))?
            .next()
            .with_context(|| format!("`{listen}` has no address; use one like {LISTEN}"))?;
        if !address.ip().is_loopback() && !self.insecure.unwrap_or(false) {
            bail!(
                "{address} can be reached from other machines, and this server has no encryption and no keys yet; listen on \
                 127.0.0.1, or add --insecure if you know who reaches it"
            );
        }
        let workers = self.workers.map_or(cores, NonZero::get);
        let connections = self.connections.map_or(CONNECTIONS, NonZero::get);
        let idle = self.idle_seconds.map_or(IDLE, |seconds| Duration::from_secs(seconds.get().into()));
        let verifies_per_minute = self.verifies_per_minute.unwrap_or(VERIFIES_PER_MINUTE);
        Ok(Config { db, index, listen: address, workers, connections, idle, verifies_per_minute })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    const WHOLE: &str = "db = 'a.db'\nindex = 'i'\n";

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file =
            settings("db = 'file.db'\nindex = 'file'\nworkers = 3\nlisten = '127.0.0.1:1'\nverifies-per-minute = 0");
        let flags = Settings { db: Some("flag.db".into()), ..Settings::default() };
        let config = flags.over(file).check().unwrap();
        assert_eq!((config.db, config.index), ("flag.db".into(), "file".into()));
        assert_eq!((config.workers, config.connections, config.verifies_per_minute), (3, CONNECTIONS, 0));
        assert_eq!(settings(WHOLE).check().unwrap().verifies_per_minute, VERIFIES_PER_MINUTE);
        assert_eq!(config.listen, "127.0.0.1:1".parse().unwrap());
    }

    #[test]
    fn beyond_loopback_only_on_purpose() {
        for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7700"] {
            let open = settings(&format!("{WHOLE}listen = '{listen}'"));
            assert!(open.clone().check().unwrap_err().to_string().contains("--insecure"));
            Settings { insecure: Some(true), ..open }.check().unwrap();
        }
        settings(&format!("{WHOLE}listen = '[::1]:0'")).check().unwrap();
        settings(&format!("{WHOLE}listen = 'localhost:0'")).check().unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| format!("{:#}", settings(text).check().unwrap_err());
        assert!(wrong("index = 'i'").contains("--db"));
        assert!(wrong("db = 'd'").contains("--index"));
        assert!(wrong(&format!("{WHOLE}listen = '7700'")).contains("127.0.0.1:7700"));
        for text in ["workerz = 1", "workers = 0", "workers = 'many'", "log-level = 'loud'", "verifies-per-minute = -1"]
        {
            assert!(toml::from_str::<Settings>(text).is_err(), "{text}");
        }
    }
}
