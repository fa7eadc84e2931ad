//! Why a value is not accepted, whatever source it came from. The key that it was given to, and its
//! place, are added by whoever knows them.

/// Why a value is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// Continues a sentence that begins with the key.
    pub(crate) message: String,
    /// What to write instead, where that can be told.
    pub(crate) help: Option<String>,
    /// Which item of a list is wrong, if it is one of them.
    pub(crate) item: Option<usize>,
}

impl Complaint {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, item: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
