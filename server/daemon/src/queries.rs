//! The queue of queries: bounded, and served by threads of its own.
//!
//! A query that is dropped unanswered, whatever the reason, answers `internal`: no request is ever left without a reply.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{io, thread};

use balcao_engine::Snapshot;
use balcao_wire::{Code, Fault, Request, write_fault};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use may::io::WaitIoWaker;

use crate::conversation::Ticket;
use crate::desk::guarded;
use crate::limits::QUEUE_MAX;

/// Replies on their way back to a session.
#[derive(Default)]
pub(crate) struct Mailbox {
    replies: Mutex<Vec<(Ticket, Vec<u8>)>>,
    waker: OnceLock<WaitIoWaker>,
}

impl Mailbox {
    /// From now on the session is woken when a reply comes.
    pub(crate) fn wake_with(&self, waker: WaitIoWaker) {
        // A session does this once, before its first request.
        let _ = self.waker.set(waker);
    }

    /// Takes the replies that came.
    pub(crate) fn take(&self) -> Vec<(Ticket, Vec<u8>)> {
        std::mem::take(&mut *self.replies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, ticket: Ticket, reply: Vec<u8>) {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, reply));
        self.wake();
    }

    /// Wakes the session.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wakeup();
        }
    }
}

/// A request on its way to a query thread.
pub(crate) struct Query {
    /// Taken when it is answered.
    request: Option<Request>,
    ticket: Ticket,
    snapshot: Arc<Snapshot>,
    mailbox: Arc<Mailbox>,
}

impl Query {
    pub(crate) fn new(request: Request, ticket: Ticket, snapshot: Arc<Snapshot>, mailbox: Arc<Mailbox>) -> Self {
        Self { request: Some(request), ticket, snapshot, mailbox }
    }

    fn run(mut self) {
        if let Some(request) = self.request.take() {
            let mut reply = Vec::new();
            guarded(&request, &mut reply, |out| {
                self.snapshot.answer(&request, out);
                true
            });
            self.mailbox.put(self.ticket, reply);
        }
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            let mut reply = Vec::new();
            let message = "the server stopped before it came to this request; ask again";
            write_fault(&mut reply, &request.id, &Fault::new(Code::Internal, message));
            self.mailbox.put(self.ticket, reply);
        }
    }
}

/// The queue's entrance.
pub(crate) struct Queries {
    sender: Sender<Query>,
}

impl Queries {
    /// Starts `threads` query threads. They are plain threads, so that a cold disk blocks none of the sessions' workers.
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let (sender, receiver) = bounded(QUEUE_MAX);
        for number in 0..threads {
            let receiver: Receiver<Query> = receiver.clone();
            let name = format!("query-{number}");
            thread::Builder::new().name(name).spawn(move || receiver.iter().for_each(Query::run))?;
        }
        Ok(Self { sender })
    }

    /// Puts a query into the queue; gives its request back where the queue is full.
    pub(crate) fn push(&self, query: Query) -> Result<(), Box<Request>> {
        match self.sender.try_send(query) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(mut query) | TrySendError::Disconnected(mut query)) => match query.request.take() {
                Some(request) => Err(Box::new(request)),
                None => Ok(()),
            },
        }
    }
}
