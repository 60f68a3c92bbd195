//! Standard output: written in pieces, and gone quietly when its reader is.

use std::io::{self, Write};

/// Written out when it holds this much.
const PIECE: usize = 64 * 1024;

/// A buffer before a writer. After an error nothing more is written.
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

    /// Whether the buffer should be written out.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= PIECE
    }

    /// Writes the buffer out; whether that still makes sense.
    pub(crate) fn flush(&mut self) -> bool {
        if self.error.is_none() {
            let written = self.to.write_all(&self.buffer).and_then(|()| self.to.flush());
            self.error = written.err();
        }
        self.buffer.clear();
        self.error.is_none()
    }

    /// What went wrong.
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
    fn after_a_broken_pipe_nothing_more_is_written_nor_kept() {
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
