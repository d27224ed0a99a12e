//! How a call ended, for whoever made it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Connection;
use super::status::{Status, code};
use crate::http2::{Headers, Key};

#[derive(Clone)]
pub struct Ended {
    pub status: Status,
    pub head: Option<Headers>,
    /// The one message that answers a unary call.
    pub payload: Option<Bytes>,
}

impl Ended {
    /// Of a call whose messages are received one by one, or that is not there any more.
    pub fn new(status: Status, head: Option<Headers>) -> Self {
        Self { status, head, payload: None }
    }

    /// A unary call's end: OK needs exactly one message.
    fn unary(mut status: Status, head: Option<Headers>, inbox: &mut VecDeque<Bytes>) -> Self {
        let payload = inbox.pop_front();
        if status.code == code::OK && (payload.is_none() || !inbox.is_empty()) {
            let trailers = std::mem::take(&mut status.trailers);
            status = Status::new(code::UNIMPLEMENTED, "a unary call was not answered by exactly one message");
            status.trailers = trailers;
        }
        Self { status, head, payload }
    }

    pub fn without_message(&self) -> Self {
        Self::new(self.status.clone(), self.head.clone())
    }
}

impl Connection {
    /// As far as the call has come, or as if its owner had let go of it.
    pub fn outcome(&self, key: Key) -> Ended {
        let (status, head) = self.call(key).map_or((None, None), |call| (call.finished.clone(), call.head.clone()));
        Ended::new(status.unwrap_or_else(dropped), head)
    }

    /// Takes a finished unary call out of the connection.
    pub fn take_outcome(&mut self, key: Key) -> Ended {
        let Some(call) = self.call_mut(key) else {
            return Ended::new(Status::new(code::CANCELLED, "the call is gone"), None);
        };
        let status = call.finished.take().unwrap_or_else(dropped);
        let ended = Ended::unary(status, call.head.take(), &mut call.inbox);
        call.finished = Some(Status::new(ended.status.code, "")); // it counts by how it ended
        self.forget(key);
        ended
    }
}

fn dropped() -> Status {
    Status::new(code::CANCELLED, "the call was dropped")
}
