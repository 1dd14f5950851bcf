//! Interim answers (1xx), such as 103 Early Hints, on their way to the caller.

use crate::caller_body::Inbound;
use crate::forward;
use http::header::CONTENT_LENGTH;
use http::{StatusCode, response};
use http1::write;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::task::Context;

/// The way to a caller who takes interim answers; by default there is none. Those who speak HTTP/1.0 would take
/// one for the answer (RFC 9110 section 15.2), and hyper's HTTP/2 cannot send any.
#[derive(Clone, Default)]
pub struct Early(Weak<RefCell<Inbound>>);

impl Early {
    pub fn over(inbound: &Rc<RefCell<Inbound>>) -> Early {
        Early(Rc::downgrade(inbound))
    }

    /// Passes on what a service says before its answer. `100 Continue` is between it and the gate, which has
    /// told the caller by itself.
    pub fn pass_on(&self, mut head: response::Parts, cx: &mut Context) {
        let Some(inbound) = self.0.upgrade().filter(|_| head.status != StatusCode::CONTINUE) else { return };
        forward::leave_upstream_connection(&mut head);
        head.headers.remove(CONTENT_LENGTH);
        let wire = &mut inbound.borrow_mut().wire;
        write::status_line(&mut wire.output, head.status);
        write::fields(&mut wire.output, &head.headers);
        write::end_of_head(&mut wire.output);
        // What does not go out now goes out with the answer.
        let _ = wire.poll_flush(cx);
    }
}
