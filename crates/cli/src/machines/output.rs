//! Standard output: buffered, and silent after its pipe is closed.

use std::io::{self, Write};

/// Size of the buffer in bytes at which it is written.
const BUFFER_SIZE: usize = 64 * 1024;

/// A buffered writer. After an error it discards everything.
pub(crate) struct Output<W> {
    pub(crate) buffer: Vec<u8>,
    to: W,
    error: Option<io::Error>,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(to: W) -> Self {
        Self {
            buffer: Vec::new(),
            to,
            error: None,
        }
    }

    /// Whether the buffer should be written.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= BUFFER_SIZE
    }

    /// Writes the buffer. Returns `false` after the first error.
    pub(crate) fn flush(&mut self) -> bool {
        if self.error.is_none() {
            let written = self.to.write_all(&self.buffer).and_then(|()| self.to.flush());
            self.error = written.err();
        }
        self.buffer.clear();
        self.error.is_none()
    }

    /// The first error.
    pub(crate) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn written(&self) -> &W {
        &self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed(usize);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn after_a_broken_pipe_everything_is_discarded() {
        let mut output = Output::new(Closed(0));
        for _ in 0..3 {
            output.buffer.extend_from_slice(b"row\n");
            assert!(!output.flush());
            assert!(output.buffer.is_empty());
        }
        assert_eq!(output.written().0, 1);
        assert_eq!(
            output.error().map(io::Error::kind),
            Some(io::ErrorKind::BrokenPipe)
        );
    }
}
