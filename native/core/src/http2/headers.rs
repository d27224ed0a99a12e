//! A header list as gRPC needs it: few fields, in order, mostly read once. One piece of memory, no hashing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::growth::Charge;

/// Fields in the order of the wire: pseudo-header fields first. Names are lower case; who pushes sees to it.
#[derive(Default)]
pub struct Headers {
    pub(super) text: Vec<u8>,
    /// For each field, where its name and where its value ends.
    pub(super) ends: Vec<(u32, u32)>,
    /// What the peer made of it beyond what it sent.
    pub(super) charge: Option<Box<Charge>>,
}

impl Headers {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), ends: Vec::with_capacity(fields), ..Self::default() }
    }

    /// Adds a field behind the others, also if there is one of that name.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.text.extend_from_slice(name.as_bytes());
        let name_end = self.text.len() as u32;
        self.text.extend_from_slice(value.as_ref());
        self.ends.push((name_end, self.text.len() as u32));
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut start = 0;
        for &(name_end, end) in &self.ends {
            if &self.text[start..name_end as usize] == name.as_bytes() {
                return Some(&self.text[name_end as usize..end as usize]);
            }
            start = end as usize;
        }
        None
    }

    /// Each value of that name, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> + use<'_> {
        let found: Vec<_> = self.all().filter(|(own, _)| *own == name).map(|(_, value)| value).collect();
        found.into_iter()
    }

    /// From now on these are the values of that name, where the first of them stood, or behind all others; none: there
    /// is no such field.
    pub fn replace(&mut self, name: &str, values: &[impl AsRef<[u8]>]) {
        let mut changed = Self::with_capacity(self.len() + values.len(), self.text.len());
        let mut waiting = Some(values);
        for (old, value) in self.all() {
            if old != name {
                changed.push(old, value);
            } else if let Some(values) = waiting.take() {
                values.iter().for_each(|value| changed.push(name, value));
            }
        }
        waiting.into_iter().flatten().for_each(|value| changed.push(name, value));
        changed.charge = self.charge.take();
        *self = changed;
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All fields, pseudo-header fields too.
    pub fn all(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, end)| {
            let name = std::str::from_utf8(&self.text[start..name_end as usize]).unwrap_or_default();
            start = end as usize;
            (name, &self.text[name_end as usize..end as usize])
        })
    }

    /// The fields that applications mean, without `:path` and its like.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.all().filter(|(name, _)| !name.starts_with(':'))
    }

    /// How many fields, pseudo-header fields included.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Of all names and values together.
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// As SETTINGS_MAX_HEADER_LIST_SIZE counts: 32 bytes a field besides its text (RFC 9113, section 6.5.2).
    pub fn list_size(&self) -> usize {
        self.text.len() + 32 * self.ends.len()
    }
}

/// The copy is not charged: it is made to be read at once.
impl Clone for Headers {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), ends: self.ends.clone(), ..Self::default() }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.ends) == (&other.text, &other.ends)
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.all().map(|(name, value)| (name, String::from_utf8_lossy(value)))).finish()
    }
}

impl<'a, V: AsRef<[u8]>> FromIterator<(&'a str, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, V)>>(fields: I) -> Self {
        let mut headers = Self::new();
        fields.into_iter().for_each(|(name, value)| headers.push(name, value));
        headers
    }
}

/// What all requests of one method have in common. Its encoded form is kept per connection.
#[derive(Debug)]
pub struct Template {
    pub(super) id: u64,
    pub headers: Headers,
}

impl Template {
    /// `headers` begins with the pseudo-header fields of a request.
    pub fn new(headers: Headers) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), headers }
    }
}

/// Fields that mean one HTTP/1.1 connection and have no place in HTTP/2 (RFC 9113, section 8.2.2).
pub fn connection_specific(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_duplicates() {
        let headers: Headers = [(":path", "/a"), ("x", "1"), ("y", ""), ("x", "2")].into_iter().collect();
        assert_eq!(headers.get("x"), Some(&b"1"[..]));
        assert_eq!(headers.get("y"), Some(&b""[..]));
        assert_eq!(headers.get("z"), None);
        assert_eq!(headers.values("x").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(headers.values("z").count(), 0);
        let fields: Vec<_> = headers.fields().collect();
        assert_eq!(fields, [("x", &b"1"[..]), ("y", b""), ("x", b"2")]);
        assert_eq!(headers.list_size(), 5 + 2 + 2 + 1 + 2 + 4 * 32);
    }
    #[test]
    fn what_is_replaced_stands_where_it_stood() {
        let mut headers: Headers = [(":path", "/a"), ("x", "1"), ("y", "2"), ("x", "3")].into_iter().collect();
        headers.replace("x", &["5", "6"]);
        let fields: Vec<_> = headers.fields().collect();
        assert_eq!(fields, [("x", &b"5"[..]), ("x", b"6"), ("y", b"2")]);
        headers.replace("x", &[""; 0]);
        headers.replace("z", &["7"]);
        assert_eq!(headers.fields().collect::<Vec<_>>(), [("y", &b"2"[..]), ("z", b"7")]);
    }
}
