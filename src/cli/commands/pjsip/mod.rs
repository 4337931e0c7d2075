//! `capconduit pjsip`: the SIP side of clients, as Asterisk reads it.
//!
//! A client has an endpoint, an AOR with its contact and, where it wants our calls authenticated, an
//! authentication; the id of all three is the client's identifier.

use std::net::Ipv6Addr;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use postgres::GenericClient;

use crate::asterisk::live::answers;
use crate::asterisk::live::console::Console;
use crate::asterisk::live::contacts::Contacts;
use crate::cli::args::input::{fits, integer, line, new_password, not_an_option, nothing_to_change, number, typeable};
use crate::cli::args::listing::{Known, Listing};
use crate::cli::commands::route::reachability;
use crate::cli::env::Env;
use crate::cli::find;
use crate::cli::output::{self, Output};
use crate::model::live::State;
use crate::model::pjsip_options::{self, Object};
use crate::model::realtime::Text;
use crate::model::sip::{check_contact, missing_transport};
use crate::store::pjsip::{
    self, Aor, AorChanges, AuthChanges, EndpointChanges, OfNothing, OptionChanges, Pjsip, WithOptions,
};
use crate::words::shell;
use crate::{Error, Kind, Result};

pub(crate) const EXAMPLES: &str = "\
Examples:
  capconduit pjsip set acme --contact 'sip:pbx.acme.example:5061;transport=tls'
  capconduit pjsip set acme --auth-username us --ask-auth-password
  capconduit pjsip set acme --media-encryption sdes --rtp-timeout 60 --send-pai yes
  capconduit pjsip add oldclient --contact sip:203.0.113.7

Options of a client's own calls count where a site lets the client call: an identify section for its
endpoint in pjsip_local.conf, and a context for --context in extensions_local.conf.

Asterisk sees a change at the next call. It starts qualifying a new contact after
asterisk -rx 'pjsip reload qualify aor IDENT'.";

/// The verbs of `pjsip`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List the clients' SIP sides
    List(List),
    /// Show a client's SIP side, and what keeps calls from it
    Show(Show),
    /// Add the endpoint and the AOR that a client lacks
    Add(Box<Add>),
    /// Change a client's SIP side
    Set(Box<Set>),
    /// Remove a client's SIP side; it gets no more calls
    Remove(Remove),
}

impl Verb {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        match self {
            Verb::List(verb) => verb.run(env),
            Verb::Show(verb) => verb.run(env),
            Verb::Add(verb) => verb.run(env),
            Verb::Set(verb) => verb.run(env),
            Verb::Remove(verb) => verb.run(env),
        }
    }
}

/// The SIP side of a client.
pub(crate) fn of_client(db: &mut impl GenericClient, client_id: i32) -> Result<Pjsip> {
    pjsip::list(db, Some(client_id))?.pop().ok_or_else(|| Error::not_found("client", client_id))
}

/// `pjsip list`
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    listing: Listing,
}

impl List {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let mut sides = pjsip::list(&mut db, None)?;
        let contacts = reachability::ask(env.config, &mut db);
        sides.iter_mut().for_each(|side| add_contact(side, &contacts));
        let rows = sides.iter().map(output::to_value).collect::<Result<_>>()?;
        let names: Vec<String> = pjsip::field_names();
        let fields: Vec<Known<'_>> =
            names.iter().map(|name| Known { name, is_time: name.ends_with("config_updated_at") }).collect();
        let shown = |column: &&str| contacts.is_asked() || *column != "contact_state";
        let columns: Vec<&str> = COLUMNS.iter().copied().filter(shown).collect();
        self.listing.of_values(rows, &fields, &columns, "No clients.")
    }
}

/// What the table of `pjsip list` shows; contact_state where Asterisk was asked.
const COLUMNS: &[&str] = &[
    "client_identifier",
    "status",
    "aor.contact",
    "aor.qualify_frequency",
    "endpoint.transport",
    "endpoint.context",
    "endpoint.allow",
    "auth.username",
    "contact_state",
    "problems",
];

/// `pjsip show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Client identifier or id
    client: String,
}

impl Show {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let client = find::client(&mut db, &self.client)?;
        let mut side = of_client(&mut db, client.id)?;
        add_contact(&mut side, &reachability::ask(env.config, &mut db));
        if let Some(problem) = side.problems.iter_mut().find(|problem| *problem == UNREACHABLE) {
            let remedy = reachability::remedy(&side.client_identifier, pjsip::may_change(&mut db)?);
            problem.push_str(&format!(". {remedy}"));
        }
        Output::item(&side)
    }
}

/// What Asterisk says: an unreachable client looks sound in the database.
fn add_contact(pjsip: &mut Pjsip, contacts: &Contacts) {
    pjsip.contact = contacts.client(&pjsip.client_identifier);
    if pjsip.contact.contact_state == State::Unreachable && pjsip.status == "active" {
        pjsip.problems.push(UNREACHABLE.to_owned());
    }
}

const UNREACHABLE: &str = "its contact does not answer OPTIONS: Asterisk places no call with it";

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
fn all_or_nothing(disallow: String) -> Result<String> {
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
            qualify_frequency: number("qualify_frequency", self.qualify_frequency, 0..=86_400)?,
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
    auth_password_stdin: bool,
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

fn ask_password(env: &mut Env<'_>, from_stdin: bool, prompt: &str) -> Result<Text> {
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
fn value(column: &str, value: Option<String>, max: usize) -> Result<Option<Text>> {
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

/// Refuses parts that each are as they should be, and cannot work together: of one client, or of all.
/// `before`: what named nothing before, which is no reason to refuse what mends something else.
pub(crate) fn refuse_conflicts(
    tx: &mut impl GenericClient,
    client_id: Option<i32>,
    before: &[OfNothing],
) -> Result<()> {
    pjsip::refuse_conflicts(tx, client_id)?;
    let mut nothing = pjsip::names_of_nothing(tx, client_id)?;
    nothing.retain(|one| !before.contains(one));
    if nothing.is_empty() {
        return Ok(());
    }
    // a site may have an authentication of its own in pjsip.conf
    let asked = Console::local()
        .and_then(|console| console.ask_within("pjsip show auths", std::time::Duration::from_secs(2)).ok());
    let of_asterisk = asked.as_deref().map(answers::auths).unwrap_or_default();
    match nothing.iter().find(|one| one.what == "aors" || !of_asterisk.contains(&one.name.as_str())) {
        None => Ok(()),
        Some(one) => Err(Error::invalid(format!(
            "{} of endpoint {} is \"{}\", which does not exist",
            one.what, one.endpoint, one.name
        ))
        .hint(
            "Nothing was changed. capconduit pjsip list --json shows each client's AOR and authentication; \
               --auth-username adds one.",
        )),
    }
}

/// Says what a client's calls need that Asterisk does not have, as far as it can be known: it may be on
/// another machine, and a site adds to its files.
pub(crate) fn note_what_is_missing(env: &mut Env<'_>, pjsip: &Pjsip) {
    let (Some(endpoint), Some(aor)) = (&pjsip.endpoint, &pjsip.aor) else { return };
    let named = endpoint.transport.as_ref().map(|name| name.0.as_str()).filter(|name| !name.is_empty());
    if missing_transport(&aor.contact.0, named, None).is_some() {
        let asked = Console::local()
            .and_then(|console| console.ask_within("pjsip show transports", std::time::Duration::from_secs(2)).ok());
        let there = asked.as_deref().map(answers::transports);
        let there: Option<Vec<_>> = there.map(|all| all.iter().map(|one| (one.id, one.protocol)).collect());
        if let Some(missing) = missing_transport(&aor.contact.0, named, there.as_deref()) {
            env.progress(&format!("note: {missing}."));
        }
    }
    if let Some(allow) = endpoint.allow.as_ref().filter(|allow| crate::model::codecs::translates_nothing(&allow.0)) {
        env.progress(&format!(
            "note: nothing here translates {allow}: only callers that offer the same are heard, unless modules_local.conf \
             loads its codec module."
        ));
    }
}

pub(crate) fn contact(contact: String) -> Result<Text> {
    check_contact(&contact)?;
    let contact = Text(contact);
    fits("contact", &contact.encoded(), 255)?;
    Ok(contact)
}

/// Adds an authentication and lets the endpoint use it.
pub(crate) fn add_auth(
    tx: &mut impl GenericClient,
    client_id: i32,
    identifier: &str,
    endpoint: &mut EndpointChanges,
    auth: &AuthChanges,
) -> Result<()> {
    pjsip::add_auth(tx, client_id, identifier)?;
    pjsip::set_auth(tx, client_id, auth)?;
    endpoint.outbound_auth.get_or_insert_with(|| Text(identifier.to_owned()));
    Ok(())
}

/// `pjsip add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Client identifier or id
    client: String,
    /// Where its calls go: a SIP URI
    #[arg(long, value_name = "URI")]
    contact: Option<String>,
    #[command(flatten)]
    endpoint: EndpointFields,
    #[command(flatten)]
    aor: AorFields,
    #[command(flatten)]
    auth: AuthFields,
    #[command(flatten)]
    options: OptionFields,
}

impl Add {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut endpoint = self.endpoint.changes()?;
        let mut aor = self.aor.changes(self.contact)?;
        self.options.share_out(&mut endpoint, &mut aor)?;
        let mut auth = self.auth.changes()?;
        let with_auth = self.auth.is_given();

        let mut db = env.connect()?;
        let client = find::client(&mut db, &self.client)?;
        crate::model::sip::check_identifier(&client.client_identifier)?;
        let there = of_client(&mut db, client.id)?;
        if there.endpoint.is_some() && there.aor.is_some() {
            return Err(Error::conflict(format!("client \"{}\" has an endpoint and an AOR", client.client_identifier))
                .hint("Nothing was changed. capconduit pjsip set changes them."));
        }
        if with_auth {
            if there.auth.is_some() {
                return Err(Error::conflict(format!("client \"{}\" has an authentication", client.client_identifier))
                    .hint("Nothing was changed. capconduit pjsip set changes it."));
            }
            auth.password = Some(self.auth.new_password(env)?);
        }
        let mut tx = env.begin(&mut db)?;
        let before = pjsip::names_of_nothing(&mut tx, Some(client.id))?;
        let id = client.client_identifier.as_str();
        if there.aor.is_none() {
            let Some(contact) = &aor.contact else {
                return Err(Error::new(Kind::Usage, format!("client \"{id}\" has no AOR: it needs --contact")));
            };
            pjsip::add_aor(&mut tx, client.id, id, contact)?;
        }
        if aor != AorChanges::default() {
            pjsip::set_aor(&mut tx, client.id, &aor)?;
        }
        if there.endpoint.is_none() {
            let context = endpoint.context.take().unwrap_or_else(|| Text(DEFAULT_CONTEXT.to_owned()));
            pjsip::add_endpoint(&mut tx, client.id, id, &context)?;
        }
        if with_auth {
            add_auth(&mut tx, client.id, id, &mut endpoint, &auth)?;
        } else if let Some(auth) = there.auth.filter(|_| there.endpoint.is_none()) {
            endpoint.outbound_auth = Some(Text(auth.id));
        }
        if endpoint != EndpointChanges::default() {
            pjsip::set_endpoint(&mut tx, client.id, &endpoint)?;
        }
        refuse_conflicts(&mut tx, Some(client.id), &before)?;
        let pjsip = of_client(&mut tx, client.id)?;
        tx.commit()?;
        note_what_is_missing(env, &pjsip);
        Output::done(format!("SIP side of client \"{id}\" added.{}", qualifying(id, pjsip.aor.as_ref())), &pjsip)
    }
}

/// Where clients' own calls enter the dialplan that comes with CapConduit.
pub(crate) const DEFAULT_CONTEXT: &str = "from-client";

/// `pjsip set`
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Client identifier or id
    client: String,
    /// Where its calls go: a SIP URI
    #[arg(long, value_name = "URI")]
    contact: Option<String>,
    #[command(flatten)]
    endpoint: EndpointFields,
    /// AOR to dial; empty: the one with the endpoint's id
    #[arg(long, value_name = "ID")]
    aors: Option<String>,
    /// What the client must authenticate its own calls with; empty: nothing
    #[arg(long, value_name = "ID")]
    auth: Option<String>,
    /// What to authenticate our calls with at the client; empty: nothing
    #[arg(long, value_name = "ID")]
    outbound_auth: Option<String>,
    #[command(flatten)]
    aor: AorFields,
    /// How the password is kept
    #[arg(long, value_parser = ["userpass"])]
    auth_type: Option<String>,
    /// Ask for a new password
    #[arg(long, conflicts_with = "auth_password_stdin")]
    ask_auth_password: bool,
    #[command(flatten)]
    auth_fields: AuthFields,
    #[command(flatten)]
    options: OptionFields,
}

impl Set {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut endpoint = EndpointChanges {
            aors: word("aors", self.aors, 200)?,
            auth: word("auth", self.auth, 40)?,
            outbound_auth: word("outbound_auth", self.outbound_auth, 40)?,
            ..self.endpoint.changes()?
        };
        let mut aor = self.aor.changes(self.contact)?;
        self.options.share_out(&mut endpoint, &mut aor)?;
        let mut auth = AuthChanges { auth_type: self.auth_type.map(Text), ..self.auth_fields.changes()? };
        let with_password = self.ask_auth_password || self.auth_fields.auth_password_stdin;
        let with_auth = auth != AuthChanges::default() || with_password;
        if endpoint == EndpointChanges::default() && aor == AorChanges::default() && !with_auth {
            return Err(nothing_to_change("pjsip"));
        }

        let mut db = env.connect()?;
        let client = find::client(&mut db, &self.client)?;
        let id = client.client_identifier.as_str();
        let there = of_client(&mut db, client.id)?;
        if with_auth && there.auth.is_none() {
            crate::model::sip::check_identifier(id)?;
            auth.password = Some(self.auth_fields.new_password(env)?);
        } else if with_password {
            let prompt = format!("New SIP password of client {id}");
            auth.password = Some(ask_password(env, self.auth_fields.auth_password_stdin, &prompt)?);
        }
        let is_requalified = aor.contact.is_some()
            || aor.qualify_frequency.is_some()
            || aor.options.iter().any(|(o, _)| o.object == Object::Aor);
        let mut tx = env.begin(&mut db)?;
        let before = pjsip::names_of_nothing(&mut tx, Some(client.id))?;
        if with_auth && there.auth.is_none() {
            add_auth(&mut tx, client.id, id, &mut endpoint, &auth)?;
        } else if with_auth {
            pjsip::set_auth(&mut tx, client.id, &auth)?;
        }
        if aor != AorChanges::default() && pjsip::set_aor(&mut tx, client.id, &aor)? == 0 {
            return Err(lacks(id, "AOR"));
        }
        if endpoint != EndpointChanges::default() && pjsip::set_endpoint(&mut tx, client.id, &endpoint)? == 0 {
            return Err(lacks(id, "endpoint"));
        }
        refuse_conflicts(&mut tx, Some(client.id), &before)?;
        let pjsip = of_client(&mut tx, client.id)?;
        tx.commit()?;
        note_what_is_missing(env, &pjsip);
        let next = if is_requalified { requalifying(id) } else { String::new() };
        Output::done(format!("SIP side of client \"{id}\" changed.{next}"), &pjsip)
    }
}

/// How a new contact comes to be qualified, where it is to be: calls go to it unasked until then.
pub(crate) fn qualifying(client: &str, aor: Option<&WithOptions<Aor>>) -> String {
    match aor {
        Some(aor) if aor.row.qualify_frequency.is_some_and(|seconds| seconds > 0) => {
            format!(
                "\nAsterisk qualifies its contact from its next start on, or from: {}",
                reachability::requalify(client)
            )
        }
        _ => String::new(),
    }
}

/// How Asterisk learns of a change to it.
pub(crate) fn requalifying(client: &str) -> String {
    format!("\nAsterisk qualifies as before until its next start, or: {}", reachability::requalify(client))
}

/// Changing what is not there.
pub(crate) fn lacks(identifier: &str, what: &str) -> Error {
    Error::new(Kind::NotFound, format!("client \"{identifier}\" has no {what}")).hint(format!(
        "Nothing was changed. capconduit pjsip add {} --contact sip:HOST adds what it lacks.",
        shell(identifier)
    ))
}

/// `pjsip remove`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Client identifier or id
    client: String,
    /// Remove only the authentication
    #[arg(long)]
    auth: bool,
}

impl Remove {
    fn run(self, env: &mut Env<'_>) -> Result<Output> {
        let mut db = env.connect()?;
        let client = find::client(&mut db, &self.client)?;
        let id = client.client_identifier.as_str();
        let pjsip = of_client(&mut db, client.id)?;
        let (what, there) = match self.auth {
            true => ("authentication", pjsip.auth.is_some()),
            false => ("SIP side", pjsip.endpoint.is_some() || pjsip.aor.is_some() || pjsip.auth.is_some()),
        };
        if !there {
            return Err(Error::new(Kind::NotFound, format!("client \"{id}\" has no {what}")));
        }
        let question = match self.auth {
            true => format!("Remove the authentication of client \"{id}\"?"),
            false => format!("Remove the SIP side of client \"{id}\"? It gets no more calls."),
        };
        let confirmed = env.confirm(&question)?;
        let mut tx = env.begin(&mut db)?;
        match self.auth {
            true => pjsip::remove_auth(&mut tx, client.id, &confirmed)?,
            false => pjsip::remove(&mut tx, client.id, &confirmed)?,
        };
        tx.commit()?;
        Output::done(format!("The {what} of client \"{id}\" is removed."), &pjsip)
    }
}

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
