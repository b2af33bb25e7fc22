use std::fmt;

/// Why an operator cannot go on. Made from text with `Error::from`, `.into()` or `?`.
#[derive(Debug)]
pub struct Error(pub(crate) Cause);

#[derive(Debug)]
pub(crate) enum Cause {
    /// The output does not fit the window: the host is to call with fewer rows.
    Full,
    Text(String),
}

/// The result of what can fail in an operator.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with a message for whoever runs the pipeline; 1024 bytes of it are kept.
    pub fn new(why: impl Into<String>) -> Error {
        Error(Cause::Text(why.into()))
    }

    pub(crate) fn message(&self) -> &str {
        match &self.0 {
            Cause::Full => "the output does not fit its window",
            Cause::Text(why) => why,
        }
    }

    /// Tells whether it is for want of room in the output window, and so no failure.
    pub fn is_full(&self) -> bool {
        matches!(self.0, Cause::Full)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(why: String) -> Error {
        Error::new(why)
    }
}

impl From<&str> for Error {
    fn from(why: &str) -> Error {
        Error::new(why)
    }
}
