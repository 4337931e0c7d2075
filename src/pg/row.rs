//! Rows: structs whose fields are columns, which say what they hold.

/// A field of a JSON object, as the manual and `capconduit schema` describe it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    /// Its name: that of the column.
    pub name: &'static str,
    /// The type that it is serialised from: `Option<i32>`.
    pub rust_type: &'static str,
    /// What it says.
    pub about: &'static str,
}

impl Field {
    /// The type of what it holds where it is not null.
    #[must_use]
    pub fn inner_type(&self) -> &'static str {
        self.rust_type.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')).unwrap_or(self.rust_type)
    }

    /// Whether it is a point in time.
    #[must_use]
    pub fn is_time(&self) -> bool {
        self.inner_type() == "DateTime<Utc>"
    }
}

/// What can be listed: its fields are known without a row of it.
pub trait Fields {
    /// In the order in which they are printed.
    const FIELDS: &'static [Field];
}

/// Declares a row: a serialisable struct whose fields are the columns, and its conversion.
#[macro_export]
macro_rules! row {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[doc = $doc:literal])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $type,)* }

        impl $crate::pg::Fields for $name {
            const FIELDS: &'static [$crate::pg::Field] = &[$($crate::pg::Field {
                name: stringify!($field),
                rust_type: stringify!($type),
                about: concat!($($doc),*),
            }),*];
        }

        impl TryFrom<&postgres::Row> for $name {
            type Error = $crate::Error;

            fn try_from(row: &postgres::Row) -> $crate::Result<Self> {
                Ok($name { $($field: row.try_get(stringify!($field))?,)* })
            }
        }
    };
}
