//! What a job says at its end.

use crate::checkpoint::Connectivity;
use crate::runtime::JobReport;

/// Logs a job's counters.
pub(super) fn report(report: &JobReport) {
    for ((place, cause), count) in &report.rejected {
        tracing::warn!(%place, %cause, count, "readings rejected");
    }
    if report.shipping.connectivity == Connectivity::Fenced {
        tracing::error!(
            shipped = report.shipping.shipped,
            "another device ships under this one's name: what this one took in since is on no remote"
        );
    }
    tracing::info!(
        readings = report.readings,
        replayed = report.replayed,
        outputs = report.outputs,
        rejected = report.rejected.values().sum::<u64>(),
        lost = report.readings_lost,
        restarts = report.restarts,
        hangs = report.hangs,
        checkpoints = report.checkpoints_completed,
        checkpoints_failed = report.checkpoints_failed,
        shipped = report.shipping.shipped,
        unshipped_readings = report.shipping.backlog.map_or(0, |backlog| backlog.readings),
        clock_jumps = report.clock_jumps,
        keys_evicted = report.keys_evicted,
        memory_shortages = report.memory_shortages,
        "ended"
    );
}
