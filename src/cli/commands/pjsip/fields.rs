//! The flags of a SIP side, which `client` and `pjsip` share, and what their values may be.

use crate::cli::args::input::{fits, integer, line, new_password, not_an_option, number, typeable};
use crate::cli::env::Env;
use crate::model::pjsip_options::{self, Object};
use crate::model::realtime::Text;
use crate::model::rules;
use crate::model::sip::check_contact;
use crate::store::pjsip::{AorChanges, AuthChanges, EndpointChanges, OptionChanges};
use crate::{Error, Kind, Result};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use std::net::Ipv6Addr;

/// Options beyond the v3.0 columns, a flag for each of [`pjsip_options::OPTIONS`].
#[derive(Debug, Default)]
pub(crate) struct OptionFields(OptionChanges);

impl Args for OptionFields {
    fn augment_args(command: Command) -> Command {
        pjsip_options::OPTIONS.iter().fold(command, |command, option| {
            let value = match option.rule {
                pjsip_options::Rule::YesNo => "yes|no".to_owned(),
                pjsip_options::Rule::Only(value, _) => value.to_owned(),
                pjsip_options::Rule::OneOf(values) if values.len() <= 6 => values.join("|"),
                pjsip_options::Rule::OneOf(_) => "WORD".to_owned(),
                pjsip_options::Rule::Integer(..) | pjsip_options::Rule::Seconds(_) => "SECONDS".to_owned(),
                pjsip_options::Rule::Address => "ADDRESS".to_owned(),
                pjsip_options::Rule::User => "USER".to_owned(),
                pjsip_options::Rule::Proxy => "URI".to_owned(),
            };
            let arg = Arg::new(option.name).long(option.flag()).value_name(value).help(option.about);
            command.arg(
                arg.hide_short_help(true)
                    .allow_hyphen_values(true)
                    .value_parser(not_an_option("a value"))
                    .help_heading("SIP options (empty: Asterisk's default)"),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OptionFields {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = pjsip_options::OPTIONS.iter().filter_map(|option| {
            let value = matches.get_one::<String>(option.name)?;
            Some((option, Text(value.clone())))
        });
        Ok(OptionFields(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl OptionFields {
    /// Checks them and hands them to the objects that they belong to. The AOR is qualified through
    /// the endpoint's proxy.
    pub(crate) fn share_out(self, endpoint: &mut EndpointChanges, aor: &mut AorChanges) -> Result<()> {
        for (option, value) in self.0 {
            option.check(&value.0)?;
            if option.object == Object::Aor || option.name == pjsip_options::AOR_OUTBOUND_PROXY {
                aor.options.push((option, value.clone()));
            }
            if option.object == Object::Endpoint {
                endpoint.options.push((option, value));
            }
        }
        Ok(())
    }
}

/// Options of the endpoint.
#[derive(Debug, Args)]
pub(crate) struct EndpointFields {
    /// Transport of pjsip.conf to use; empty: any
    #[arg(long, value_name = "NAME")]
    transport: Option<String>,
    /// Dialplan context of the client's own calls
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Only all, which changes nothing: --allow alone says which codecs there are
    #[arg(long, value_name = "CODECS")]
    disallow: Option<String>,
    /// Codecs, in order of preference
    #[arg(long, value_name = "CODECS")]
    allow: Option<String>,
    /// Whether media may bypass Asterisk, where pjsip.conf lets the carrier's bypass it, too
    #[arg(long, value_parser = ["yes", "no"])]
    direct_media: Option<String>,
    /// User part of the From header; empty: the caller's number
    #[arg(long, value_name = "USER")]
    from_user: Option<String>,
    /// Host part of the From header; empty: Asterisk's address
    #[arg(long, value_name = "HOST")]
    from_domain: Option<String>,
    /// Caller ID of the client's own calls, as 'Name <number>'; empty: as they send it
    #[arg(long, value_name = "CALLERID")]
    callerid: Option<String>,
}

impl EndpointFields {
    pub(crate) fn changes(self) -> Result<EndpointChanges> {
        if self.context.as_deref() == Some("") {
            return Err(Error::invalid("context is empty: it must have a value"));
        }
        Ok(EndpointChanges {
            transport: word("transport", self.transport, 40)?,
            context: word("context", self.context, 80)?,
            disallow: codecs("disallow", self.disallow.map(all_or_nothing).transpose()?)?,
            allow: codecs("allow", self.allow)?,
            direct_media: self.direct_media.map(Text),
            from_user: word("from_user", self.from_user, 80)?,
            from_domain: host("from_domain", self.from_domain, 80)?,
            callerid: value("callerid", self.callerid, 80)?,
            ..EndpointChanges::default()
        })
    }
}

/// Asterisk begins with no codec and reads disallow before allow: nothing is there yet to be taken away.
pub(crate) fn all_or_nothing(disallow: String) -> Result<String> {
    if ["", "all"].contains(&disallow.as_str()) {
        return Ok(disallow);
    }
    let shown = disallow.escape_debug();
    Err(Error::invalid(format!(
        "disallow \"{shown}\": it takes nothing away, as Asterisk adds the codecs of allow after it"
    ))
    .hint("Nothing was changed. Name the codecs to use: --allow ulaw,alaw"))
}

/// Options of the AOR.
#[derive(Debug, Args)]
pub(crate) struct AorFields {
    /// How many contacts may register, where a site lets clients register: from 0; default 1
    #[arg(long, value_name = "N", value_parser = integer::<0>, allow_negative_numbers = true)]
    max_contacts: Option<i64>,
    /// Seconds between the OPTIONS requests that qualify the contact: 1 to 86400, 0 switches them off;
    /// default 60
    #[arg(long, value_name = "SECONDS", value_parser = integer::<0>, allow_negative_numbers = true)]
    qualify_frequency: Option<i64>,
}

impl AorFields {
    pub(crate) fn changes(self, contact: Option<String>) -> Result<AorChanges> {
        Ok(AorChanges {
            contact: contact.map(self::contact).transpose()?,
            max_contacts: number("max_contacts", self.max_contacts, 0..=i32::MAX)?,
            // the most that Asterisk takes
            qualify_frequency: number("qualify_frequency", self.qualify_frequency, rules::QUALIFY_FREQUENCY)?,
            options: Vec::new(),
        })
    }
}

/// Options of the authentication at the client.
#[derive(Debug, Args)]
pub(crate) struct AuthFields {
    /// User name to authenticate our calls with at the client
    #[arg(long, visible_alias = "username", value_name = "USER")]
    auth_username: Option<String>,
    /// Read the password from standard input, one line
    #[arg(long)]
    pub(crate) auth_password_stdin: bool,
    /// Only answer challenges of this realm; empty: of any
    #[arg(long, value_name = "REALM")]
    realm: Option<String>,
}

impl AuthFields {
    pub(crate) fn is_given(&self) -> bool {
        self.auth_username.is_some() || self.auth_password_stdin || self.realm.is_some()
    }

    /// Everything but the password.
    pub(crate) fn changes(&self) -> Result<AuthChanges> {
        line("username", self.auth_username.as_deref(), 80)?;
        Ok(AuthChanges {
            username: value("username", self.auth_username.clone(), 80)?,
            realm: value("realm", self.realm.clone(), 80)?,
            ..AuthChanges::default()
        })
    }

    /// The password of a new authentication, which must have one.
    pub(crate) fn new_password(&self, env: &mut Env<'_>) -> Result<Text> {
        let user = self
            .auth_username
            .as_deref()
            .ok_or_else(|| Error::new(Kind::Usage, "a new authentication needs --auth-username"))?;
        ask_password(env, self.auth_password_stdin, &format!("SIP password of {user}"))
    }
}

pub(crate) fn ask_password(env: &mut Env<'_>, from_stdin: bool, prompt: &str) -> Result<Text> {
    let password = new_password(env, from_stdin, prompt)?.ok_or_else(|| {
        Error::new(Kind::Usage, "no password was given")
            .hint("Without a terminal, give it on standard input with --auth-password-stdin.")
    })?;
    check_password(&password)?;
    Ok(Text(password))
}

/// A SIP password. The message does not repeat it.
pub(crate) fn check_password(password: &str) -> Result<()> {
    typeable("the password", password)?;
    let stored = Text(password.to_owned()).encoded().chars().count();
    if stored > 128 {
        return Err(Error::invalid(format!(
            "the password has {stored} characters as it is stored (; and ^ take three): at most 128 fit"
        )));
    }
    Ok(())
}

/// A value of a nullable column, which fits as it is stored.
pub(crate) fn value(column: &str, value: Option<String>, max: usize) -> Result<Option<Text>> {
    let Some(value) = value.map(Text) else { return Ok(None) };
    if !value.0.is_empty() {
        line(column, &*value.0, max)?;
        fits(column, &value.encoded(), max)?;
    }
    Ok(Some(value))
}

/// A value that has no spaces, quotes or other separators in it.
pub(crate) fn word(column: &str, word: Option<String>, max: usize) -> Result<Option<Text>> {
    if let Some(c) = word.iter().flat_map(|w| w.chars()).find(|c| c.is_whitespace() || "\"'<>,;@".contains(*c)) {
        return Err(Error::invalid(format!(
            "{column} \"{}\" holds {c:?}: it must be one word",
            word.unwrap_or_default().escape_debug()
        )));
    }
    value(column, word, max)
}

/// A list of codecs: one bad name and Asterisk drops the endpoint.
pub(crate) fn codecs(column: &str, list: Option<String>) -> Result<Option<Text>> {
    if let Some(list) = &list {
        crate::model::codecs::check(column, list)?;
    }
    value(column, list, 200)
}

/// A host: a name or an address.
pub(crate) fn host(column: &str, host: Option<String>, max: usize) -> Result<Option<Text>> {
    if let Some(host) = host.as_deref().filter(|host| !host.is_empty()) {
        let name = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
        let v6 = |host: &str| host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).map(str::parse::<Ipv6Addr>);
        if !name(host) && v6(host).is_none_or(|parsed| parsed.is_err()) {
            return Err(Error::invalid(format!(
                "{column} \"{}\" is no host: it must be a name, an IPv4 address or an IPv6 address in []",
                host.escape_debug()
            )));
        }
    }
    word(column, host, max)
}

pub(crate) fn contact(contact: String) -> Result<Text> {
    check_contact(&contact)?;
    let contact = Text(contact);
    fits("contact", &contact.encoded(), 255)?;
    Ok(contact)
}

/// Where clients' own calls enter the dialplan that comes with CapConduit.
pub(crate) const DEFAULT_CONTEXT: &str = "from-client";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["example.com", "192.0.2.1", "[2001:db8::1]", "a-b", ""] {
            assert!(host("from_domain", Some(good.to_owned()), 80).is_ok(), "{good}");
        }
        for bad in ["a b", "a/b", "a:5060", "[::g]", "2001:db8::1", "ä", "sip:a", "a_b"] {
            assert!(host("from_domain", Some(bad.to_owned()), 80).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_stored_form_must_fit() {
        assert!(value("realm", Some(";".repeat(26)), 80).is_ok());
        assert!(value("realm", Some(";".repeat(27)), 80).is_err());
    }
}
