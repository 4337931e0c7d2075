//! Rows: structs whose fields are columns.

/// Declares a row: a [`shape!`](crate::shape) whose fields are the columns, and its conversion.
#[macro_export]
macro_rules! row {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[doc = $doc:literal])* pub $field:ident: $type:ty,)* }) => {
        $crate::shape! {
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $name { $($(#[doc = $doc])* pub $field: $type,)* }
        }

        impl TryFrom<&postgres::Row> for $name {
            type Error = $crate::Error;

            fn try_from(row: &postgres::Row) -> $crate::Result<Self> {
                Ok($name { $($field: row.try_get(stringify!($field))?,)* })
            }
        }
    };
}
