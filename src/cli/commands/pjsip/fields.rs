//! The flags of a SIP side, which `client` and `pjsip` share, and what their values may be.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

use crate::cli::args::flags::Flags;
use crate::cli::args::input::{new_password, not_an_option, typeable};
use crate::cli::env::Env;
use crate::model::columns;
use crate::model::pjsip_options::{self, Object, SipOption};
use crate::model::realtime::Text;
use crate::model::values::stored;
use crate::store::changes::Changes;
use crate::{Error, Kind, Result};

/// Options beyond the v3.0 columns, a flag for each of [`pjsip_options::OPTIONS`].
#[derive(Debug, Default)]
pub(crate) struct OptionFields(Vec<(&'static SipOption, String)>);

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
        let given = pjsip_options::OPTIONS
            .iter()
            .filter_map(|option| Some((option, matches.get_one::<String>(option.name)?.clone())));
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
    pub(crate) fn share_out(self, endpoint: &mut Changes, aor: &mut Changes) -> Result<()> {
        for (option, text) in self.0 {
            option.check(&text)?;
            let value = if text.is_empty() { Value::Null } else { json!(text) };
            if option.object == Object::Aor || option.name == pjsip_options::AOR_OUTBOUND_PROXY {
                aor.insert(option.name.to_owned(), value.clone());
            }
            if option.object == Object::Endpoint {
                endpoint.insert(option.name.to_owned(), value);
            }
        }
        Ok(())
    }
}

/// What is to be changed of an endpoint.
pub(crate) fn endpoint_changes(given: &Flags<columns::Endpoint>) -> Result<Changes> {
    let changes = given.changes()?;
    if let Some(disallow) = changes.get("disallow").and_then(Value::as_str) {
        all_or_nothing(disallow)?;
    }
    Ok(changes)
}

/// Asterisk begins with no codec and reads disallow before allow: nothing is there yet to be taken away.
fn all_or_nothing(disallow: &str) -> Result<()> {
    if disallow == "all" {
        return Ok(());
    }
    let shown = disallow.escape_debug();
    Err(Error::invalid(format!(
        "disallow \"{shown}\": it takes nothing away, as Asterisk adds the codecs of allow after it"
    ))
    .hint("Nothing was changed. Name the codecs to use: --allow ulaw,alaw"))
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
    #[command(flatten)]
    realm: Flags<columns::Realm>,
}

impl AuthFields {
    /// Everything but the password.
    pub(crate) fn changes(&self) -> Result<Changes> {
        let mut changes = self.realm.changes()?;
        if let Some(user) = self.auth_username.as_deref() {
            stored("username", user, 80)?;
            changes.insert("username".to_owned(), json!(user));
        }
        Ok(changes)
    }

    /// The password of a new authentication, which must have one.
    pub(crate) fn new_password(&self, env: &mut Env<'_>) -> Result<Value> {
        let user = self
            .auth_username
            .as_deref()
            .ok_or_else(|| Error::new(Kind::Usage, "a new authentication needs --auth-username"))?;
        ask_password(env, self.auth_password_stdin, &format!("SIP password of {user}"))
    }
}

pub(crate) fn ask_password(env: &mut Env<'_>, from_stdin: bool, prompt: &str) -> Result<Value> {
    let password = new_password(env, from_stdin, prompt)?.ok_or_else(|| {
        Error::new(Kind::Usage, "no password was given")
            .hint("Without a terminal, give it on standard input with --auth-password-stdin.")
    })?;
    check_password(&password)?;
    Ok(json!(password))
}

/// The column of [`ask_password`].
pub(crate) const PASSWORD: &str = "password";

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
