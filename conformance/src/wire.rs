//! The primitive fields of MQTT: written as told, read strictly.

/// The protocol version of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.0.
    V5,
}

impl Version {
    /// Returns the protocol level for CONNECT.
    pub fn level(self) -> u8 {
        match self {
            Self::V3 => 4,
            Self::V5 => 5,
        }
    }
}

/// Builds the body of a packet field by field.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one byte.
    pub fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    /// Appends a Two Byte Integer.
    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a Four Byte Integer.
    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a Variable Byte Integer in its shortest form.
    pub fn variable(mut self, mut value: usize) -> Self {
        while value >= 0x80 {
            self.0.push((value & 0x7F) as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8)
    }

    /// Appends bytes as they are.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends the length of the bytes, and then the bytes, without checking them.
    pub fn binary(self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).expect("a field has at most 65,535 bytes");
        self.u16(length).bytes(bytes)
    }

    /// Appends a UTF-8 encoded string.
    pub fn string(self, text: &str) -> Self {
        self.binary(text.as_bytes())
    }

    /// Returns the fields written so far.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Returns the packet: a fixed header with `first_byte`, Remaining Length, and the fields.
    pub fn packet(self, first_byte: u8) -> Vec<u8> {
        let header = Self::new().u8(first_byte).variable(self.0.len());
        header.bytes(&self.0).into_bytes()
    }
}

/// Reads the body of a received packet and panics at the first error.
#[derive(Debug)]
pub struct Reader<'a> {
    packet: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, the body of a `packet`, whose name is for the panic messages.
    pub fn new(packet: &'static str, bytes: &'a [u8]) -> Self {
        Self { packet, rest: bytes }
    }

    /// Returns whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads the next `count` bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            panic!("{}: a field of {count} bytes in {:02x?}", self.packet, self.rest);
        };
        self.rest = rest;
        taken
    }

    /// Reads all remaining bytes.
    pub fn remainder(&mut self) -> &'a [u8] {
        self.take(self.rest.len())
    }

    /// Reads one byte.
    pub fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    /// Reads a Two Byte Integer.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// Reads a Four Byte Integer.
    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// Reads a Packet Identifier, which is never 0.
    pub fn packet_id(&mut self) -> u16 {
        let id = self.u16();
        assert_ne!(id, 0, "{}: Packet Identifier 0", self.packet);
        id
    }

    /// Reads a Variable Byte Integer in its shortest form [MQTT-1.5.5-1].
    pub fn variable(&mut self) -> u32 {
        let (value, length) = variable(self.rest)
            .unwrap_or_else(|| panic!("{}: an unfinished Variable Byte Integer", self.packet));
        self.take(length);
        value
    }

    /// Reads bytes that follow their length.
    pub fn binary(&mut self) -> &'a [u8] {
        let length = self.u16();
        self.take(length.into())
    }

    /// Reads a UTF-8 Encoded String without U+0000.
    pub fn string(&mut self) -> String {
        let text = std::str::from_utf8(self.binary())
            .unwrap_or_else(|error| panic!("{}: ill-formed UTF-8: {error}", self.packet));
        assert!(!text.contains('\0'), "{}: U+0000 in {text:?}", self.packet);
        text.to_owned()
    }

    /// Checks that nothing is left.
    pub fn finish(self) {
        assert!(self.rest.is_empty(), "{}: {:02x?} left over", self.packet, self.rest);
    }
}

/// Returns the Variable Byte Integer at the start of `bytes` and its length; `None` if incomplete.
///
/// # Panics
/// When it is longer than necessary or than four bytes.
pub fn variable(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate() {
        assert!(index < 4, "a Variable Byte Integer of five bytes");
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let is_shortest = index == 0 || *byte != 0;
            assert!(is_shortest, "a Variable Byte Integer with a needless byte");
            return Some((value, index + 1));
        }
    }
    None
}
