//! What things are and which rules they follow. Pure: nothing here reads, writes, asks or prints.

pub mod call;
pub mod call_id;
pub mod call_status;
pub mod codecs;
pub mod columns;
pub mod hangup_cause;
pub mod live;
pub mod number;
pub mod pjsip_options;
pub mod realtime;
pub mod reason;
pub mod shape;
pub mod sip;
pub(crate) mod values;
