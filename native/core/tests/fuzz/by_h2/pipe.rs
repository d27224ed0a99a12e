//! The in-memory socket that the h2 crate reads and writes: filled and emptied by our own caller.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Default)]
struct Buffers {
    input: Vec<u8>,
    read: usize,
    eof: bool,
    output: Vec<u8>,
    reader: Option<Waker>,
}

/// Both ends are used from one thread at a time; the mutex is there because h2 wants `Send`, and is never contended.
#[derive(Clone, Default)]
pub struct Pipe(Arc<Mutex<Buffers>>);

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Buffers> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn feed(&self, bytes: &[u8]) {
        let mut buffers = self.lock();
        buffers.input.extend_from_slice(bytes);
        if let Some(waker) = buffers.reader.take() {
            waker.wake();
        }
    }

    pub fn feed_eof(&self) {
        let mut buffers = self.lock();
        buffers.eof = true;
        if let Some(waker) = buffers.reader.take() {
            waker.wake();
        }
    }

    pub fn take_output(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().output)
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut buffers = self.lock();
        let waiting = &buffers.input[buffers.read..];
        let n = waiting.len().min(buf.remaining());
        if n == 0 {
            if buffers.eof {
                return Poll::Ready(Ok(()));
            }
            buffers.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buf.put_slice(&waiting[..n]);
        buffers.read += n;
        if buffers.read == buffers.input.len() {
            buffers.input.clear();
            buffers.read = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().output.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut buffers = self.lock();
        let mut n = 0;
        for buf in bufs {
            buffers.output.extend_from_slice(buf);
            n += buf.len();
        }
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
