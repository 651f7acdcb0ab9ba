//! A body of so many bytes, made as it is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

const PIECE: usize = 64 << 10;
static FILLING: [u8; PIECE] = [b'x'; PIECE];

/// So many times the letter x.
#[derive(Debug)]
pub(super) struct Fill {
    left: u64,
    told: bool,
}

impl Fill {
    /// A body of `size` bytes; with `chunked` its length is not announced.
    pub(super) fn new(size: u64, chunked: bool) -> Self {
        Self { left: size, told: !chunked }
    }
}

impl Body for Fill {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE));
        if piece == 0 {
            return Poll::Ready(None);
        }
        self.left -= piece as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FILLING[..piece])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.told { SizeHint::with_exact(self.left) } else { SizeHint::default() }
    }
}
