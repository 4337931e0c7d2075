//! `capconduit status`: how the platform is doing now.

mod prometheus;
mod screen;
mod unreached;
mod unsold;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use clap::Args;
use postgres::Client;
use serde_json::{Map, Value};

use crate::asterisk::live;
use crate::asterisk::live::ari::Ari;
use crate::cli::args::input::not_an_option;
use crate::cli::args::period::moment;
use crate::cli::commands::report::Figures;
use crate::cli::commands::route::reachability;
use crate::cli::env::Env;
use crate::cli::find;
use crate::cli::output::bars::Charset;
use crate::cli::output::frames::Frames;
use crate::cli::output::{self, Output};
use crate::config::Config;
use crate::delivery::spool::{Part, Spool};
use crate::model::live::{Server, State};
use crate::model::sip::is_diallable;
use crate::store::report::{self, Key, Scope};
use crate::store::status::{Attempts, Filter, Hour, Lately, Link, Unsold};
use crate::store::zone::{self, Moment, Reading};
use crate::words::{plural, some_of};
use crate::{Error, Kind, Result, pg, shape, store};

const EXAMPLES: &str = "\
Examples:
  capconduit status --tz Europe/Berlin
  capconduit status --watch 5 --user alice
  capconduit status --check --max-spool-age 300
  capconduit status --prometheus /var/lib/prometheus/node-exporter/capconduit.prom

--json is one object: at, database, asterisk, spool, attempts, links, calls (since --since, by
status), hours (calls of the last 24), findings (what needs attention), notices (what is not sold
as somebody has left it: paused, in no campaign). What could not be read is null.

Of the calls to known numbers of the last 15 minutes, if there were five or more, it needs attention
that more than a fifth FAILED, or that more than half were rejected or FAILED.

Exit code 0, whatever there is to see; with --check 1 where something needs attention. Where the
database cannot be read, with all that can be seen without it: 75 it is away, 6 it refuses this
login, 1 it lacks the schema. --watch ends with Ctrl-C, exit code 0.";

/// `status`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Status {
    /// Only this campaign
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Option<String>,
    /// Only this seller
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The time zone whose day is counted
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// Count calls from this time on [default: the beginning of the day]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = not_an_option("a time"))]
    since: Option<String>,
    /// Show it again every SECONDS [2]: in place on a terminal, else one after another (--json: one line each)
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    watch: Option<Duration>,
    /// Show only what needs attention; exit code 1 where something does
    #[arg(long, conflicts_with = "watch")]
    check: bool,
    /// How old in seconds the oldest record in the spool may be before it needs attention while the
    /// database is away; while it answers, 120 at most
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    max_spool_age: u64,
    /// Print metrics in the Prometheus text format, or write them to FILE for node_exporter
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["watch", "check", "json"])]
    #[allow(clippy::option_option, reason = "absent, without a value, with one")]
    prometheus: Option<Option<PathBuf>>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("it must be seconds, from 0.1 to 86400".to_owned()),
    }
}

shape! {
    /// All that is seen at one time; --json prints it. What could not be read is null.
    #[derive(Debug)]
    pub(crate) struct Snapshot {
        /// When this was looked at.
        at: DateTime<Utc>,
        /// The database.
        database: Database,
        /// Asterisk, all null where neither its console nor ARI can be asked.
        asterisk: Asterisk,
        /// Call records that are still to be delivered.
        spool: SpoolState,
        /// Attempts that nobody has released; null where the database is away, as what follows.
        attempts: Option<Attempts>,
        /// The links with what counts against their caps.
        links: Option<Vec<LinkNow>>,
        /// The calls since the beginning of the day, or --since.
        calls: Option<Calls>,
        /// The last 24 hours.
        hours: Option<Vec<Hour>>,
        /// What needs attention.
        findings: Vec<Finding>,
        /// Active DIDs that are not sold as somebody has left it: paused, suspended, in no campaign.
        notices: Vec<Finding>,
        #[serde(skip)]
        unsold: Vec<Unsold>,
        /// What is to be said of active DIDs that no call reaches.
        #[serde(skip)]
        unreached: Vec<String>,
        /// Attempts of calls that were up when Asterisk died.
        #[serde(skip)]
        lost: i64,
        /// Lost calls that hold a place in a total.
        #[serde(skip)]
        undecided: i64,
        /// Whether Asterisk has said which contacts answer.
        #[serde(skip)]
        contacts_are_seen: bool,
        /// Whether the login may change what Asterisk asks of a contact.
        #[serde(skip)]
        sip_is_ours: bool,
        /// How many calls there were lately, and how many of them were lost.
        #[serde(skip)]
        lately: Option<Lately>,
        /// Records are to go to the database, and not to the HTTP back end.
        #[serde(skip)]
        delivers_to_database: bool,
        #[serde(skip)]
        failure: Option<Error>,
    }
}

shape! {
    /// A link, and whether its client can be reached.
    #[derive(Debug)]
    struct LinkNow {
        #[serde(flatten)]
        link: Link,
        /// What Asterisk says of the client's contact: reachable, unreachable, not_qualified, unknown or not_asked.
        contact_state: State,
    }
}

impl std::ops::Deref for LinkNow {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

/// While the database answers, `call replay` has delivered a record after two of its runs.
const DELIVERED_SECONDS: u64 = 120;

/// The minutes that `lately` covers, and the least number of calls that it judges.
const LATELY_MINUTES: i32 = 15;
const LATELY_CALLS: i64 = 5;

shape! {
    /// The database.
    #[derive(Debug, Default)]
    struct Database {
        /// It answers.
        reachable: bool,
        /// PostgreSQL's.
        version: Option<String>,
        /// primary or standby.
        role: Option<String>,
        /// Milliseconds that one question took.
        latency_ms: Option<f64>,
        /// Null where this login may not know.
        schema_up_to_date: Option<bool>,
        /// Why it does not answer.
        error: Option<String>,
    }
}

shape! {
    /// All is null where nobody was asked.
    #[derive(Debug, Default)]
    struct Asterisk {
        /// It answers.
        up: Option<bool>,
        /// systemname of asterisk.conf.
        system_name: Option<String>,
        /// Its version.
        version: Option<String>,
        /// When it was started.
        started_at: Option<DateTime<Utc>>,
        /// Channels that are up.
        channels: Option<usize>,
        /// Why it does not answer.
        error: Option<String>,
    }
}

shape! {
    /// The records that wait.
    #[derive(Debug, Default)]
    struct SpoolState {
        /// The spool folder.
        dir: PathBuf,
        /// Records that wait.
        waiting: Option<usize>,
        /// The age of the oldest.
        oldest_seconds: Option<u64>,
        /// Refused for good, and kept in failed/.
        failed: Option<usize>,
        /// Not readable as a record, and kept in damaged/.
        damaged: Option<usize>,
        /// Why the folder cannot be read.
        error: Option<String>,
    }
}

shape! {
    /// The calls of a time.
    #[derive(Debug)]
    struct Calls {
        /// From when on.
        since: DateTime<Utc>,
        /// The time zone of the day.
        tz: String,
        #[serde(flatten)]
        figures: Figures,
        /// How many calls have each call status.
        by_status: Map<String, Value>,
    }
}

shape! {
    /// Something that needs attention, or is worth knowing.
    #[derive(Debug, PartialEq)]
    struct Finding {
        /// What was looked at.
        check: &'static str,
        /// What is wrong, or worth knowing.
        message: String,
    }
}

impl Status {
    pub(crate) fn run(self, env: &mut Env<'_>) -> Result<Output> {
        if let Some(pause) = self.watch {
            return self.watch(pause, env);
        }
        let snapshot = self.look(env.config, &mut None)?;
        let failure = snapshot.failure.clone();
        let output = match &self.prometheus {
            Some(Some(file)) => {
                prometheus::write(&snapshot, file)?;
                Output::Text(String::new())
            }
            Some(None) => Output::Text(prometheus::text(&snapshot, None)),
            None if self.check => Output::list(&snapshot.findings, &["check", "message"], "All is well.")?,
            None if env.json => Output::item(&snapshot)?,
            None => Output::Text(screen::screen(&snapshot, Charset::of_locale(), None)),
        };
        let found = match snapshot.findings.len() {
            _ if !self.check => None,
            0 => None,
            1 => Some(Error::failed("1 thing needs attention")),
            n => Some(Error::failed(format!("{n} things need attention"))),
        };
        match failure.or(found) {
            Some(error) => Ok(Output::Findings { output: Box::new(output), error }),
            None => Ok(output),
        }
    }

    fn watch(self, pause: Duration, env: &Env<'_>) -> Result<Output> {
        let (config, json) = (env.config.clone(), env.json);
        let terminal = std::io::stdout().is_terminal() && !json;
        let charset = Charset::of_locale();
        let mut db = None;
        let frames = Frames::start(pause, terminal, move || {
            let snapshot = self.look(&config, &mut db)?;
            if json {
                return Ok(format!("{}\n", output::to_value(&snapshot)?));
            }
            // the window may have another size by now
            let height = || terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0));
            let height = terminal.then(height);
            let text = screen::screen(&snapshot, charset, height);
            Ok(if terminal { text } else { text + "\n" })
        })?;
        Ok(Output::Frames(frames))
    }

    /// Looks at everything. `db` is the connection of the last look, kept for the next.
    fn look(&self, config: &Config, db: &mut Option<Client>) -> Result<Snapshot> {
        let mut snapshot = Snapshot {
            at: Utc::now(),
            database: Database::default(),
            asterisk: Asterisk::default(),
            spool: SpoolState::of(&Spool::new(config.spool_dir())),
            attempts: None,
            links: None,
            calls: None,
            hours: None,
            findings: Vec::new(),
            notices: Vec::new(),
            unsold: Vec::new(),
            unreached: Vec::new(),
            lost: 0,
            undecided: 0,
            contacts_are_seen: false,
            sip_is_ours: false,
            lately: None,
            delivers_to_database: config.get("INTERNAL_API_URL").is_none(),
            failure: None,
        };
        let ari = Ari::of(config)?;
        // one that is away does not delay the other
        let asked = thread::scope(|scope| {
            let asterisk = scope.spawn(move || live::ask(ari.as_ref()));
            let contacts = scope.spawn(|| live::contacts::ask(config));
            let read = self.read(config, db, &mut snapshot);
            let server = asterisk.join().unwrap_or(Ok(None));
            snapshot.asterisk = Asterisk::of(&server);
            let contacts = contacts.join().ok().flatten();
            match (read, &mut *db) {
                (Ok(filter), Some(db)) => snapshot.compare(db, server.ok().flatten(), contacts, filter),
                (read, _) => read.map(drop),
            }
        });
        if let Err(error) = asked {
            *db = None;
            // a slip of the person, not the state of the database
            if matches!(error.kind, Kind::Usage | Kind::NotFound | Kind::Invalid | Kind::Conflict) {
                return Err(error);
            }
            let error = pg::name_login(config, error);
            snapshot.database.error = Some(error.message.clone());
            snapshot.failure = Some(error);
        }
        snapshot.findings = self.findings(&snapshot);
        snapshot.notices = unsold::notices(&snapshot.unsold);
        Ok(snapshot)
    }

    /// Fills in the database's part, as far as it answers.
    fn read(&self, config: &Config, db: &mut Option<Client>, snapshot: &mut Snapshot) -> Result<Filter> {
        let db = match db {
            Some(client) => client,
            None => db.insert(pg::connect(config, "capconduit")?),
        };
        let begun = Instant::now();
        let server = store::status::server(db)?;
        store::seller::refuse_inactive_seller(db)?;
        let latency = begun.elapsed().as_secs_f64() * 1000.0;
        snapshot.at = server.at;
        snapshot.database = Database {
            reachable: true,
            version: Some(server.version),
            role: Some(server.role),
            latency_ms: Some((latency * 100.0).round() / 100.0),
            ..Database::default()
        };
        snapshot.database.schema_up_to_date = store::status::is_schema_up_to_date(db)?;

        let zone = zone::named(db, &self.tz)?;
        let filter = Filter {
            user_id: find::user_id(db, self.user.as_deref())?,
            campaign_id: find::campaign_id(db, self.campaign.as_deref(), self.user.as_deref())?,
        };
        snapshot.attempts = Some(store::status::attempts(db, filter)?);
        snapshot.undecided = store::status::undecided(db, filter)?;
        let link = |link| LinkNow { link, contact_state: State::NotAsked };
        snapshot.links = Some(store::status::links(db, filter)?.into_iter().map(link).collect());
        snapshot.unsold = store::status::unsold(db, filter)?;
        snapshot.unreached = unreached::messages(db, &config.number_rules()?, filter)?;
        snapshot.lately = Some(store::status::lately(db, LATELY_MINUTES, filter)?);
        let since = self.since.as_deref().map_or(Ok(Moment::DaysAgo(0)), |text| moment("since", text, false))?;
        let scope = Scope {
            from: zone::instant(db, &zone, since, Reading::Earliest)?,
            to: server.at,
            zone,
            user_id: filter.user_id,
            campaign_id: filter.campaign_id,
            client_id: None,
            number: None,
        };
        let (groups, total) = report::report(db, &[Key::Status], &scope)?;
        let by_status = groups.into_iter().map(|group| {
            let status = group.names["call_status"].as_str().unwrap_or_default();
            (status.to_owned(), group.tally.calls.into())
        });
        let by_status = by_status.collect();
        snapshot.hours = Some(store::status::hours(db, &scope.zone, filter)?);
        snapshot.calls = Some(Calls { since: scope.from, tz: scope.zone, figures: Figures::from(&total), by_status });
        Ok(filter)
    }

    fn findings(&self, snapshot: &Snapshot) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |check, message: String| findings.push(Finding { check, message });
        if let Some(error) = &snapshot.database.error {
            find("database", error.clone());
        }
        if snapshot.database.schema_up_to_date == Some(false) {
            find("schema", "the schema is not up to date: capconduit db migrate".to_owned());
        }
        if let Some(error) = &snapshot.asterisk.error {
            find("asterisk", error.clone());
        }
        let spool = &snapshot.spool;
        if let Some(error) = &spool.error {
            find("spool", error.clone());
        }
        let answers = snapshot.database.reachable && snapshot.delivers_to_database;
        let allowed = if answers { self.max_spool_age.min(DELIVERED_SECONDS) } else { self.max_spool_age };
        if let (Some(waiting), Some(oldest)) = (spool.waiting, spool.oldest_seconds)
            && oldest > allowed
        {
            let waiting = screen::waiting(waiting, Some(oldest));
            find(
                "spool",
                if answers {
                    format!(
                        "{waiting}, although the database answers: capconduit call replay delivers; capconduit asterisk \
                         check says whether Asterisk's programs reach it"
                    )
                } else {
                    format!("{waiting}: capconduit call replay")
                },
            );
        }
        for (folder, count) in [("failed", spool.failed), ("damaged", spool.damaged)] {
            if let Some(count @ 1..) = count {
                let dir = spool.dir.join(folder);
                find("spool", format!("{} kept aside in {}", plural(count, "record"), dir.display()));
            }
        }
        if let Some(Attempts { expired: expired @ 1.., .. }) = snapshot.attempts {
            find(
                "attempts",
                format!("{expired} open past the lease: capconduit call reap, on the server that had the call"),
            );
        }
        if snapshot.lost > 0 {
            find(
                "attempts",
                format!("{} of before Asterisk's start still hold their places: capconduit call reap", snapshot.lost),
            );
        }
        if snapshot.undecided > 0 {
            let what = "hold places in totals until it is said what became of them";
            let calls = plural(snapshot.undecided, "lost call");
            find(
                "attempts",
                format!("{calls} {what}: capconduit call replay on each server, then call lost, call settle"),
            );
        }
        for (client, campaigns) in unreachable(snapshot) {
            let remedy = reachability::remedy(client, snapshot.sip_is_ours);
            let campaigns = some_of(&campaigns);
            find("client", format!("{client} is unreachable, and gets no calls of {campaigns}. {remedy}"));
        }
        for (client, campaigns) in undiallable(snapshot) {
            let (client, campaigns) = (client.escape_debug(), some_of(&campaigns));
            find(
                "client",
                format!(
                    "{client} cannot be dialled, and gets no calls of {campaigns}: an identifier is 1 to 40 of A-Z a-z \
                     0-9 _ -. Add the client under another one: capconduit client add"
                ),
            );
        }
        for message in &snapshot.unreached {
            find("did", message.clone());
        }
        for unsold in snapshot.unsold.iter().filter(|unsold| unsold::is_by_accident(unsold)) {
            find("did", unsold::message(unsold));
        }
        for link in snapshot.links.iter().flatten().filter(|link| is_exhausted(link)) {
            let (had, allowed) = (link.current_total_calls, link.total_calls_allowed.unwrap_or_default());
            let link = format!("{} in {}", link.client_identifier, link.campaign_name);
            find("link", format!("{link} gets no more calls: {had} counted, {allowed} allowed"));
        }
        if let Some(Lately { calls, failed, rejected }) = snapshot.lately.filter(are_too_many_lost) {
            let message = format!(
                "of the {calls} calls to known numbers of the last {LATELY_MINUTES} minutes {failed} failed, {rejected} \
                 were rejected: capconduit report --by status --from -{LATELY_MINUTES}m"
            );
            find("calls", message);
        }
        findings
    }
}

/// Whether more than a fifth of the calls failed, or more than half were lost in all.
fn are_too_many_lost(lately: &Lately) -> bool {
    let Lately { calls, failed, rejected } = lately;
    *calls >= LATELY_CALLS && (failed * 5 > *calls || (failed + rejected) * 2 > *calls)
}

/// The clients of these links, each with the campaigns that would give it calls.
fn clients(snapshot: &Snapshot, lead: impl Fn(&LinkNow) -> bool) -> BTreeMap<&str, Vec<&str>> {
    let mut clients: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for link in snapshot.links.iter().flatten().filter(|link| is_in_use(link) && lead(link)) {
        clients.entry(&link.client_identifier).or_default().push(&link.campaign_name);
    }
    clients
}

/// The clients that do not answer Asterisk.
fn unreachable(snapshot: &Snapshot) -> BTreeMap<&str, Vec<&str>> {
    clients(snapshot, is_unreachable)
}

/// The clients that no dial string can name.
fn undiallable(snapshot: &Snapshot) -> BTreeMap<&str, Vec<&str>> {
    clients(snapshot, |link| !is_diallable(&link.client_identifier))
}

/// Whether a link that is in use leads nowhere.
fn is_unreachable(link: &LinkNow) -> bool {
    link.contact_state == State::Unreachable && is_in_use(link)
}

fn is_in_use(link: &LinkNow) -> bool {
    [&link.status, &link.client_status, &link.campaign_status].iter().all(|status| *status == "active")
        && link.user_status.as_deref().is_none_or(|status| status == "active")
}

/// Whether a link that is in use gets no call any more.
fn is_exhausted(link: &Link) -> bool {
    link.status == "active"
        && link.campaign_status == "active"
        && link.total_calls_allowed.is_some_and(|allowed| link.current_total_calls >= allowed)
}

impl Snapshot {
    /// Adds Asterisk's answers to the database's.
    fn compare(
        &mut self,
        db: &mut Client,
        server: Option<Server>,
        answer: Option<live::contacts::Answer>,
        filter: Filter,
    ) -> Result<()> {
        let contacts = reachability::of(answer, db);
        self.contacts_are_seen = contacts.is_asked();
        self.sip_is_ours = store::pjsip::may_change(db)?;
        for link in self.links.iter_mut().flatten() {
            link.contact_state = contacts.client(&link.client_identifier).contact_state;
        }
        if let Some(server) = server {
            self.lost = store::status::older_than_start(db, &server, filter)?;
        }
        Ok(())
    }
}

impl Asterisk {
    fn of(server: &Result<Option<Server>>) -> Asterisk {
        match server {
            Ok(None) => Asterisk::default(),
            Ok(Some(server)) => Asterisk {
                up: Some(true),
                system_name: Some(server.system_name.clone()),
                version: Some(server.version.clone()),
                started_at: Some(server.started_at),
                channels: Some(server.channels.len()),
                error: None,
            },
            Err(e) => Asterisk { up: Some(false), error: Some(e.message.clone()), ..Asterisk::default() },
        }
    }
}

impl SpoolState {
    fn of(spool: &Spool) -> SpoolState {
        let look = || -> Result<SpoolState> {
            let waiting = spool.list(Part::Waiting)?;
            // a record that is delivered meanwhile is no concern
            let written = waiting.iter().filter_map(|path| path.metadata().and_then(|m| m.modified()).ok()).min();
            let age = written.map(|at| SystemTime::now().duration_since(at).unwrap_or_default().as_secs());
            Ok(SpoolState {
                waiting: Some(waiting.len()),
                oldest_seconds: age,
                failed: Some(spool.list(Part::Failed)?.len()),
                damaged: Some(spool.list(Part::Damaged)?.len()),
                ..SpoolState::default()
            })
        };
        let state = look().unwrap_or_else(|e| SpoolState { error: Some(e.message), ..SpoolState::default() });
        SpoolState { dir: spool.dir().to_owned(), ..state }
    }
}
