//! Runs the tasks of HTTP/2 on the core of their connection.

use hyper::rt::Executor;

#[derive(Clone, Copy, Debug)]
pub struct OnThisThread;

impl<F: Future + 'static> Executor<F> for OnThisThread
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
