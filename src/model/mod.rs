//! What things are and which rules they follow. Pure: nothing here reads, writes, asks or prints.

pub mod call;
pub mod codecs;
pub mod live;
pub mod number;
pub mod pjsip_options;
pub mod realtime;
