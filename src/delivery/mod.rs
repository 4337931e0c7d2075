//! Delivering a call record: to PostgreSQL, or to the HTTP back end with the claim released here.
//! The same steps at hangup and for `call replay`.

pub mod back_end;
pub mod spool;

use crate::config::Config;
use crate::delivery::back_end::{Answer, Api};
use crate::model::call::CallRecord;
use crate::pg::Connection;
use crate::store::record::Logged;
use crate::{Error, Kind, Result, store};

/// What the database is asked to do. Asking again is safe: each is done once.
#[derive(Clone, Debug)]
pub enum Work {
    /// Write the record, release the claim, count the call.
    Log(CallRecord),
    /// Release the claim.
    Release {
        /// Of this call.
        record: CallRecord,
        /// The back end has yet to count it.
        count_pending: bool,
    },
}

impl Work {
    /// Does the work.
    ///
    /// # Errors
    /// The database's; nothing was done then.
    pub fn run(self, client: &mut Connection) -> Result<Option<Logged>> {
        match self {
            Work::Log(record) => store::record::log(client, &record).map(Some),
            Work::Release { record, count_pending } => {
                store::record::release(client, &record, count_pending).map(|_| None)
            }
        }
    }
}

/// Where records go.
pub enum Sink {
    /// Into this database.
    Postgres,
    /// To the HTTP back end.
    Http(Api),
}

/// A delivered record.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Now.
    Now,
    /// It was there before.
    Before,
}

/// A record that is not delivered, or only in part.
#[derive(Debug)]
pub struct Undelivered {
    /// Why.
    pub error: Error,
    /// Trying again will not help.
    pub permanent: bool,
    /// The HTTP back end has it: only the claim is still to be released.
    pub posted: bool,
}

impl Undelivered {
    /// Nothing has been tried yet.
    #[must_use]
    pub fn of(error: Error) -> Undelivered {
        Undelivered { error, permanent: false, posted: false }
    }
}

impl Sink {
    /// The sink that the configuration names.
    ///
    /// # Errors
    /// `INTERNAL_API_URL` without `INTERNAL_API_TOKEN`.
    pub fn of(config: &Config) -> Result<Sink> {
        match (config.get("INTERNAL_API_URL"), config.get("INTERNAL_API_TOKEN")) {
            (None, _) => Ok(Sink::Postgres),
            (Some(url), Some(token)) => Ok(Sink::Http(Api::new(url, token))),
            (Some(_), None) => Err(Error::invalid("INTERNAL_API_URL is set, but INTERNAL_API_TOKEN is not")
                .hint("Put both into the env file, or neither.")),
        }
    }

    /// Delivers a record. `posted`: an earlier attempt got it to the back end already.
    ///
    /// # Errors
    /// [`Undelivered`] says what is left to do.
    pub fn deliver(
        &self,
        record: &CallRecord,
        posted: bool,
        database: &mut dyn FnMut(Work) -> Result<Option<Logged>>,
    ) -> Result<Delivered, Undelivered> {
        match self {
            Sink::Postgres => match database(Work::Log(record.clone())) {
                Ok(Some(logged)) if logged.already_logged => Ok(Delivered::Before),
                Ok(_) => Ok(Delivered::Now),
                Err(error) if error.kind == Kind::Unreachable => Err(Undelivered { error, permanent: false, posted }),
                Err(error) => {
                    // Data that the database refuses stays refused; all else may be mended meanwhile.
                    let permanent = error.kind == Kind::Invalid;
                    // The client is free again in any case. An answered call keeps its place in the total until its
                    // record is written, even if a person must mend it first. If this fails too, replay or the lease
                    // does it.
                    let count_pending = record.call_status == "ANSWERED";
                    let _ = database(Work::Release { record: record.clone(), count_pending });
                    Err(Undelivered { error, permanent, posted })
                }
            },
            Sink::Http(api) => {
                let answer = if posted { Answer::AlreadyRecorded } else { api.post(record) };
                // Only after the post: until the back end counts the call, its claim or this mark does. A refused
                // record may be mended and delivered, too.
                let is_uncounted = matches!(answer, Answer::Unavailable(_) | Answer::Refused(_));
                let count_pending = is_uncounted && record.call_status == "ANSWERED";
                let released = database(Work::Release { record: record.clone(), count_pending });
                match (answer, released) {
                    (Answer::Refused(error), Ok(_)) => Err(Undelivered { error, permanent: true, posted: false }),
                    (Answer::Refused(error) | Answer::Unavailable(error), _) => {
                        Err(Undelivered { error, permanent: false, posted: false })
                    }
                    (_, Err(error)) => Err(Undelivered { error, permanent: false, posted: true }),
                    (Answer::Recorded, Ok(_)) => Ok(Delivered::Now),
                    (Answer::AlreadyRecorded, Ok(_)) => Ok(Delivered::Before),
                }
            }
        }
    }
}
