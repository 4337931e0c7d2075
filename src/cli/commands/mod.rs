//! The commands: a file for a noun, a folder where its verbs are long. A verb is a struct of its flags whose
//! `run` returns what is to be shown and prints nothing.

/// The verbs of a noun, each with its help, its struct and what else the struct's `run` is told.
macro_rules! verbs {
    ($(#[$meta:meta])* enum Verb { $($(#[$help:meta])* $verb:ident($struct:ty) $(as $word:literal)?,)* }) => {
        $(#[$meta])*
        #[derive(Debug, clap::Subcommand)]
        pub(crate) enum Verb { $($(#[$help])* $verb($struct),)* }

        impl Verb {
            pub(crate) fn run(
                self,
                env: &mut $crate::cli::env::Env<'_>,
            ) -> $crate::Result<$crate::cli::output::Output> {
                match self { $(Verb::$verb(verb) => verb.run($($word,)? env),)* }
            }
        }
    };
}

pub(crate) mod agi;
pub(crate) mod asterisk;
pub(crate) mod audit;
pub(crate) mod call;
pub(crate) mod campaign;
pub(crate) mod client;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod db;
pub(crate) mod did;
pub(crate) mod pjsip;
pub(crate) mod report;
pub(crate) mod route;
pub mod schema;
pub(crate) mod setting;
pub(crate) mod status;
pub(crate) mod user;
