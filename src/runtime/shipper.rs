//! The shipper actor: runs the steps of `checkpoint::archive::shipping` on the remote's own threads, one at a time.
//!
//! Nothing waits for it but the end of an orderly stop, and that not for long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;

use super::clock::wall_time;
use super::remote::OpenShipping;
use crate::checkpoint::{Moment, Shipping, Turn};
use crate::metrics::JobMetrics;
use crate::remote::IoRuntime;

/// Longest sleep; the wall clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// Coordinator → shipper: a checkpoint was completed and offered.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CheckpointOffered;

/// Launcher → shipper: the job has ended; answered when what is offered is shipped, or cannot be just now.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct FinishShipping;

/// Ships checkpoints.
pub(crate) struct Shipper {
    /// `None` while a step is under way.
    shipping: Option<Box<Shipping>>,
    runtime: Arc<IoRuntime>,
    metrics: Arc<JobMetrics>,
    started: Instant,
    sleep: Option<SpawnHandle>,
    finishing: Vec<oneshot::Sender<()>>,
}

impl Shipper {
    pub(crate) fn new(open: OpenShipping, metrics: Arc<JobMetrics>) -> Self {
        Self {
            shipping: Some(open.shipping),
            runtime: open.runtime,
            metrics,
            started: Instant::now(),
            sleep: None,
            finishing: Vec::new(),
        }
    }

    fn go_on(&mut self, context: &mut Context<Self>) {
        let Some(mut shipping) = self.shipping.take() else { return };
        if let Some(sleep) = self.sleep.take() {
            context.cancel_future(sleep);
        }
        if !self.finishing.is_empty() {
            shipping.hurry();
        }
        let started = self.started;
        let now = move || Moment { monotonic: started.elapsed(), wall_ms: wall_time().0 };
        match shipping.turn(now()) {
            Turn::Step => {
                let step = self.runtime.handle().spawn_blocking(move || {
                    shipping.step(now());
                    shipping
                });
                context.spawn(step.into_actor(self).map(move |outcome, actor, context| match outcome {
                    Ok(shipping) => {
                        actor.metrics.set_shipping(shipping.status(now()));
                        actor.shipping = Some(shipping);
                        actor.go_on(context);
                    }
                    Err(error) => {
                        tracing::error!(%error, "shipping failed unexpectedly and ends; the job goes on; please report this");
                        actor.finishing.clear();
                    }
                }));
            }
            Turn::WaitUntil(at) => {
                let pause = at.saturating_sub(started.elapsed()).min(SLEEP_MAX);
                self.sleep = Some(context.run_later(pause, |actor, context| actor.go_on(context)));
                self.rest(shipping, now());
            }
            Turn::Idle | Turn::Stopped => self.rest(shipping, now()),
        }
    }

    fn rest(&mut self, shipping: Box<Shipping>, now: Moment) {
        self.metrics.set_shipping(shipping.status(now));
        self.shipping = Some(shipping);
        // Dropping the senders tells those who wait.
        self.finishing.clear();
    }
}

impl Actor for Shipper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.go_on(context);
    }
}

impl Handler<CheckpointOffered> for Shipper {
    type Result = ();

    fn handle(&mut self, _: CheckpointOffered, context: &mut Self::Context) {
        self.go_on(context);
    }
}

impl Handler<FinishShipping> for Shipper {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: FinishShipping, context: &mut Self::Context) -> Self::Result {
        let (sender, finished) = oneshot::channel();
        self.finishing.push(sender);
        self.go_on(context);
        Box::pin(async move { drop(finished.await) })
    }
}
