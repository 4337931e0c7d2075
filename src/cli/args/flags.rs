//! Flags made of declared columns ([`columns`](crate::model::columns)), and the changes that they ask for.

use std::marker::PhantomData;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::Result;
use crate::cli::args::input::whole_number;
use crate::model::columns::{Column, Group, Rule};
use crate::store::changes::Changes;

/// The flags of a group of columns: those of `set`, or, with [`NEW`], of `add`.
#[derive(Debug)]
pub(crate) struct Flags<G, const NEW: bool = false> {
    given: Vec<(&'static Column, String)>,
    group: PhantomData<G>,
}

/// `Flags<Group, NEW>`: what `add` must be told is required, and its defaults are shown.
pub(crate) const NEW: bool = true;

impl<G: Group, const NEW: bool> Flags<G, NEW> {
    /// What was given, checked.
    pub(crate) fn changes(&self) -> Result<Changes> {
        self.given.iter().map(|(column, text)| Ok((column.name.to_owned(), column.read(text)?))).collect()
    }
}

fn flag(column: &Column, is_new: bool) -> Arg {
    let value = if column.value.is_empty() { column.name.to_uppercase() } else { column.value.to_owned() };
    let arg = Arg::new(column.name).long(column.name.replace('_', "-")).value_name(value).help(column.help);
    let arg = arg.required(is_new && column.needed);
    let arg = match column.default.filter(|_| is_new) {
        Some(default) => arg.default_value(default),
        None => arg,
    };
    match &column.rule {
        Rule::OneOf(values) => arg.value_parser(PossibleValuesParser::new(*values)),
        Rule::Within(range) => {
            let least = i64::from(*range.start());
            let whole = move |text: &str| whole_number(text, least).map(|_| text.to_owned());
            arg.allow_negative_numbers(true).value_parser(whole)
        }
        Rule::Unlimited(_) => arg.allow_negative_numbers(true),
        _ => arg,
    }
}

impl<G: Group, const NEW: bool> Args for Flags<G, NEW> {
    fn augment_args(command: Command) -> Command {
        G::COLUMNS.iter().fold(command, |command, column| command.arg(flag(column, NEW)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<G: Group, const NEW: bool> FromArgMatches for Flags<G, NEW> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given =
            G::COLUMNS.iter().filter_map(|column| Some((column, matches.get_one::<String>(column.name)?.clone())));
        Ok(Flags { given: given.collect(), group: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
