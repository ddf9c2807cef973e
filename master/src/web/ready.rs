//! Whether this master can do its work now.

use std::time::Duration;

use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    control::Control,
    driver::{Handle, Latencies},
};

/// Longest wait for the master's loop; one that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unready {
    /// Nothing was applied in its term yet, or another master leads.
    #[error("this master does not lead: it has not applied its log yet, or another master leads")]
    NotLeading,
    /// Its loop is stuck, or has far too much to do.
    #[error("the master's loop has not answered within {} s", PATIENCE.as_secs())]
    Stuck,
    /// It stops.
    #[error("the master is stopping")]
    Stopping,
}

/// Asks the loop, with a limit.
pub(super) async fn ask<T: Send + 'static>(
    master: &Handle,
    look: impl FnOnce(&Control, &Latencies) -> T + Send + 'static,
) -> Result<T, Unready> {
    match tokio::time::timeout(PATIENCE, master.inspect(look)).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(_stopping)) => Err(Unready::Stopping),
        Err(_elapsed) => Err(Unready::Stuck),
    }
}

/// Whether its loop answers, and it leads or knows who does: then it can answer anybody.
pub(super) async fn ready(master: &Handle) -> Result<(), Unready> {
    let led = |control: &Control, _: &_| control.table().is_some() || control.leader().is_some();
    match ask(master, led).await? {
        true => Ok(()),
        false => Err(Unready::NotLeading),
    }
}

/// Tells the standard gRPC health service.
pub(super) async fn report(health: &HealthReporter, services: &[&str], ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    // The empty name is the server as a whole.
    for service in services.iter().chain(&[""]) {
        health.set_service_status(service, status).await;
    }
}
