//! What a message of the server holds.

use std::io;

use bytes::Bytes;
use postgres::types::Type;

/// What is left to read of a message.
///
/// Its texts are searched for their ends byte by byte: a faster search asks the processor first what it
/// can do, and on a virtual machine that takes longer than all a call's messages.
pub(super) struct Body(pub(super) Bytes);

impl Body {
    pub(super) fn take(&mut self, count: usize) -> io::Result<Bytes> {
        match count <= self.0.len() {
            true => Ok(self.0.split_to(count)),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "a message that ends too early")),
        }
    }

    pub(super) fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn short(&mut self) -> io::Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn int(&mut self) -> io::Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A text that ends with a zero.
    pub(super) fn text(&mut self) -> io::Result<String> {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let text = String::from_utf8_lossy(&self.take(end)?).into_owned();
        self.byte()?;
        Ok(text)
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.0
    }

    /// The columns of a RowDescription.
    pub(super) fn columns(&mut self) -> io::Result<Vec<(String, Type)>> {
        let count = self.short()?;
        let column = |_| {
            let name = self.text()?;
            // its table and its number there
            self.take(6)?;
            let oid = self.int()?;
            // size, modifier, format
            self.take(8)?;
            // no other types are asked for than PostgreSQL's own
            Ok((name, Type::from_oid(oid).unwrap_or(Type::UNKNOWN)))
        };
        (0..count).map(column).collect()
    }

    /// The values of a DataRow with so many columns.
    pub(super) fn values(&mut self, columns: usize) -> io::Result<Vec<Option<Bytes>>> {
        if usize::from(self.short()?) != columns {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a row that is not as described"));
        }
        let value = |_| match self.int()? {
            u32::MAX => Ok(None),
            length => self.take(length as usize).map(Some),
        };
        (0..columns).map(value).collect()
    }
}
