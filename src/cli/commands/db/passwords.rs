//! Passwords of database logins, and the connection strings that hold them.

use crate::config::env_file::{EnvFile, Prepared};
use crate::system::user::group_id;
use crate::{Error, Result, pg};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

pub(crate) const DEFAULT_PREFIX: &str = "capconduit";
/// The env file that Asterisk's user reads, too.
pub(crate) const SHARED_FILE: &str = "capconduit.env";
/// Of letters and digits: Asterisk's res_pgsql.conf cannot hold others. 190 bits.
pub(crate) const PASSWORD_LENGTH: usize = 32;

/// Hosts and ports as a URL has them, and its parameters.
pub(crate) struct Address {
    pub(crate) hosts: String,
    pub(crate) parameters: Vec<(&'static str, String)>,
}

impl Address {
    pub(crate) fn url(&self, role: &str, password: &str, database: &str) -> String {
        let parameters = self
            .parameters
            .iter()
            .enumerate()
            .map(|(at, (name, value))| format!("{}{name}={}", if at == 0 { "?" } else { "&" }, encoded(value)));
        let parameters: String = parameters.collect();
        format!("postgresql://{role}:{}@{}/{}{parameters}", encoded(password), self.hosts, encoded(database))
    }
}

pub(crate) fn prepare(file: EnvFile) -> Result<Prepared> {
    // Asterisk's user runs the per-call programs, which read this one
    let for_asterisk = file.path().ends_with(SHARED_FILE);
    let group = if for_asterisk { group_id("asterisk") } else { None };
    file.prepare(if for_asterisk { 0o640 } else { 0o600 }, group)
}

pub(crate) fn generated() -> Result<String> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut password = String::with_capacity(PASSWORD_LENGTH);
    let mut bytes = [0; 64];
    while password.len() < PASSWORD_LENGTH {
        getrandom::fill(&mut bytes).map_err(|e| Error::failed(format!("the system gives no random bytes: {e}")))?;
        // 248 is four times 62: bytes above it would make some letters likelier
        let letters = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(LETTERS[usize::from(*byte) % 62]));
        password.extend(letters.take(PASSWORD_LENGTH - password.len()));
    }
    Ok(password)
}

/// Whether a URL is of this role and has its password.
pub(crate) fn names(url: &str, role: &str) -> bool {
    pg::parse_url(url).is_ok_and(|c| c.get_user() == Some(role) && c.get_password().is_some())
}

/// The URL with another password; None where the password's place in it cannot be found.
pub(crate) fn with_password(url: &str, password: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (login, place) = rest.split_once('@')?;
    let (user, _) = login.split_once(':')?;
    let changed = format!("{scheme}://{user}:{}@{place}", encoded(password));
    let (old, new) = (pg::parse_url(url).ok()?, pg::parse_url(&changed).ok()?);
    let same = new.get_password() == Some(password.as_bytes()) && new.get_hosts() == old.get_hosts();
    same.then_some(changed)
}

pub(crate) fn database_of(url: &str) -> Option<String> {
    pg::parse_url(url).ok()?.get_dbname().map(str::to_owned)
}

/// A part of a URL.
pub(crate) fn encoded(text: &str) -> PercentEncode<'_> {
    const SPECIAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, SPECIAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, other) = (generated().expect("random"), generated().expect("random"));
        assert!(one.len() == 32 && one.bytes().all(|b| b.is_ascii_alphanumeric()), "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn urls_are_read_back() {
        let address = Address { hosts: "a:1,b:2".into(), parameters: vec![("sslrootcert", "/a b".into())] };
        let url = address.url("cc_agi", "p@ß:/ w", "c c");
        let config = pg::parse_url(&url).expect("valid");
        assert_eq!(config.get_password(), Some("p@ß:/ w".as_bytes()));
        assert_eq!((config.get_dbname(), config.get_ports()), (Some("c c"), &[1, 2][..]));
        assert_eq!(config.tls.root.as_deref(), Some("/a b"));
        let changed = with_password(&url, "x@y").expect("it has one");
        assert_eq!(changed, url.replace("p%40%C3%9F%3A%2F%20w", "x%40y"));
        assert_eq!(with_password("host=h user=u password=p", "x"), None);
        assert!(names(&url, "cc_agi") && !names(&url, "cc_admin") && !names("postgresql://cc_agi@h/d", "cc_agi"));
    }
}
