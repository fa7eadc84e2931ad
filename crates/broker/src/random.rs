//! The operating system's randomness: the only source of values that others must not be able to
//! guess. It is used only at the start; a worker's core makes what it needs from that.

use std::io;

/// Returns unpredictable words.
pub(crate) fn words<const N: usize>() -> io::Result<[u64; N]> {
    let mut words = [0; N];
    for word in &mut words {
        *word = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_word_comes_twice() {
        let (first, second) = (super::words::<2>().unwrap(), super::words::<2>().unwrap());
        assert!(first[0] != first[1] && !second.contains(&first[0]));
    }
}
