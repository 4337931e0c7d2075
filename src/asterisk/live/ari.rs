//! What an Asterisk server says of itself through ARI: its name, when it started, which channels and
//! endpoints it has.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::tls::{RootCerts, TlsConfig};

use crate::config::Config;
use crate::model::live::Server;
use crate::{Error, Kind, Result};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What to do where something other than ARI answers.
const CHECK: &str = "Check ASTERISK_ARI_URL (as http://127.0.0.1:8088/ari), user and password, http.conf and ari.conf.";

/// An ARI to ask.
pub struct Ari {
    url: String,
    authorization: String,
    timeout: Duration,
}

/// A PJSIP endpoint.
#[derive(Debug, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub resource: String,
    /// `online`, `offline`, ...
    #[serde(default)]
    pub state: String,
}

#[derive(Deserialize)]
struct Channel {
    id: String,
}

impl Ari {
    /// The ARI that `ASTERISK_ARI_URL`, `ASTERISK_ARI_USER` and `ASTERISK_ARI_PASSWORD` name; None
    /// without a URL.
    ///
    /// # Errors
    /// A URL without user or password.
    pub fn of(config: &Config) -> Result<Option<Ari>> {
        let Some(url) = config.get("ASTERISK_ARI_URL") else { return Ok(None) };
        let (Some(user), Some(password)) = (config.get("ASTERISK_ARI_USER"), config.get("ASTERISK_ARI_PASSWORD"))
        else {
            return Err(Error::invalid("ASTERISK_ARI_URL is set, but not ASTERISK_ARI_USER and ASTERISK_ARI_PASSWORD")
                .hint("Put all three into the env file, or none."));
        };
        let authorization = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Ok(Some(Ari { url: url.trim_end_matches('/').to_owned(), authorization, timeout: TIMEOUT }))
    }

    /// The same, with another time for each question.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Ari {
        Ari { timeout, ..self }
    }

    /// When the server was started, and its endpoints. One that is `offline` does not answer, or has not
    /// been qualified since it was added.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] where it does not answer as ARI does, or without its module for endpoints.
    pub fn endpoints(&self) -> Result<(DateTime<Utc>, Vec<Endpoint>)> {
        Ok((self.info()?.1, self.get("endpoints/PJSIP")?))
    }

    /// The server's state. The channels are asked for last: a call that was claimed before this, and
    /// whose channel is not among them, is over.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] where it does not answer as ARI does.
    pub fn server(&self) -> Result<Server> {
        let (info, started_at) = self.info()?;
        let text = |of: &str, name: &str| info[of][name].as_str().unwrap_or_default().to_owned();
        let channels: Vec<Channel> = self.get("channels")?;
        Ok(Server {
            system_name: text("config", "name"),
            version: text("system", "version"),
            started_at,
            channels: channels.into_iter().map(|c| c.id).collect(),
        })
    }

    /// What the server is, and when it was started.
    fn info(&self) -> Result<(Value, DateTime<Utc>)> {
        let info: Value = self.get("asterisk/info")?;
        let started_at = info["status"]["startup_time"].as_str().unwrap_or_default();
        match DateTime::parse_from_str(started_at, "%Y-%m-%dT%H:%M:%S%.f%z") {
            Ok(at) => Ok((info, at.to_utc())),
            Err(_) => Err(Error::new(Kind::Unreachable, "ARI: the startup time is not a time").hint(CHECK)),
        }
    }

    fn get<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        let failed = |e: ureq::Error| {
            let hint = match e {
                ureq::Error::StatusCode(404) => {
                    "There is no ARI at that URL: Asterisk's modules.conf as CapConduit installs it loads none; the \
                     lines to put into modules_local.conf stand at its end."
                }
                _ => CHECK,
            };
            Error::new(Kind::Unreachable, format!("ARI at {}: {e}", self.url)).hint(hint)
        };
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(self.timeout))
            .max_redirects(0)
            .proxy(None)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build()
            .into();
        let request = agent.get(format!("{}/{what}", self.url)).header("Authorization", &self.authorization);
        // a busy server's channels are many
        request.call().map_err(failed)?.body_mut().with_config().limit(64 << 20).read_json().map_err(failed)
    }
}
