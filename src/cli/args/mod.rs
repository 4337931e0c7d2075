//! What flags share: values and their checks, periods, lists, the words that people try instead.

pub(crate) mod flags;
pub(crate) mod input;
pub(crate) mod listing;
pub(crate) mod period;
pub(crate) mod synonyms;
