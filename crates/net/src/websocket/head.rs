//! The head of an HTTP request or response, gathered from whatever pieces it comes in.

use tungstenite::http::HeaderMap;

use super::HEAD_BYTES_MAX;

/// A head that is not complete yet.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
}

/// The head does not end within [`HEAD_BYTES_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Head {
    /// Takes the bytes that belong to the head from what arrived. Returns how many they were, once
    /// the empty line at its end is there.
    pub(super) fn take(&mut self, arrived: &[u8]) -> Result<Option<usize>, TooLong> {
        let before = self.bytes.len();
        let room = HEAD_BYTES_MAX - before;
        self.bytes.extend_from_slice(&arrived[..arrived.len().min(room)]);
        // An end that was not there before includes a new byte, and at most two bytes before that.
        let from = before.saturating_sub(2);
        match end_of_head(&self.bytes[from..]) {
            Some(end) => {
                self.bytes.truncate(from + end);
                Ok(Some(from + end - before))
            }
            None if self.bytes.len() == HEAD_BYTES_MAX => Err(TooLong),
            None => Ok(None),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Returns where the first empty line ends.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let ends = |&index: &usize| {
        let before = &bytes[..index];
        bytes[index] == b'\n' && (before.ends_with(b"\n\r") || before.ends_with(b"\n"))
    };
    (1..bytes.len()).find(ends).map(|index| index + 1)
}

/// Returns the members of all lists in headers of this name; `None` if one is not ASCII.
pub(super) fn list<'h>(headers: &'h HeaderMap, name: &str) -> Option<Vec<&'h str>> {
    let mut members = Vec::new();
    for value in headers.get_all(name) {
        let parts = value.to_str().ok()?.split(',').map(|part| part.trim_matches([' ', '\t']));
        members.extend(parts.filter(|part| !part.is_empty()));
    }
    Some(members)
}

/// Returns whether headers of this name list `token`, in upper or lower case.
pub(super) fn lists(headers: &HeaderMap, name: &str, token: &str) -> bool {
    let members = list(headers, name).unwrap_or_default();
    members.iter().any(|member| member.eq_ignore_ascii_case(token))
}

/// Returns the value of a header that must be there once; `None` if it is absent, repeated or not
/// ASCII.
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{HEAD_BYTES_MAX, Head, TooLong};

    #[test]
    fn a_head_ends_where_it_ends_in_whatever_pieces_it_comes() {
        for head in ["GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\nHost: h\n\n"] {
            let stream = [head.as_bytes(), b"\r\n\r\nmore"].concat();
            for first in 0..stream.len() {
                let mut gathered = Head::default();
                let taken = gathered.take(&stream[..first]).unwrap();
                let taken = match taken {
                    Some(taken) => taken,
                    None => first + gathered.take(&stream[first..]).unwrap().unwrap(),
                };
                assert_eq!(taken, head.len(), "the first piece has {first}");
                assert_eq!(gathered.bytes(), head.as_bytes());
            }
        }
    }

    #[test]
    fn the_longest_head_is_taken_and_a_longer_one_is_not() {
        let mut longest = vec![b'a'; HEAD_BYTES_MAX - 4];
        longest.extend_from_slice(b"\r\n\r\n");
        let mut head = Head::default();
        assert_eq!(head.take(&longest), Ok(Some(HEAD_BYTES_MAX)));
        longest.insert(0, b'a');
        for piece_length in [1, 100, HEAD_BYTES_MAX * 2] {
            let mut head = Head::default();
            let result = longest.chunks(piece_length).map(|piece| head.take(piece));
            let result = result.take_while(|result| *result == Ok(None)).count();
            assert_eq!(result, (HEAD_BYTES_MAX - 1) / piece_length, "{piece_length}");
            assert_eq!(Head::default().take(&longest), Err(TooLong));
        }
    }
}
