//! Tidegate: an actor-based, embedded stream-processing runtime for edge devices.
//!
//! Readings come in over a socket, are keyed, and pass through supervised operators that keep state for each key; the
//! state is checkpointed while the data flows, and a restarted process carries on from the newest checkpoint.
//!
//! Begin with [`Environment`]; the reference job is ten lines:
//!
//! ```no_run
//! use tidegate::{Environment, ValueStateDescriptor};
//!
//! let environment = Environment::new("running-average");
//! environment
//!     .socket_text_stream("127.0.0.1:9000")
//!     .parse::<(i64, i64)>()
//!     .key_by(|(key, _)| *key)
//!     .flat_map(ValueStateDescriptor::new("avg"), |(key, value), avg, out| {
//!         let (count, sum) = avg.value().unwrap_or((0, 0i128));
//!         let (count, sum) = (count + 1, sum + i128::from(value));
//!         avg.update((count, sum));
//!         if count >= 2 {
//!             out.collect((key, sum / count));
//!         }
//!     })
//!     .print();
//! environment.execute()?;
//! # Ok::<(), tidegate::JobError>(())
//! ```
//!
//! A key needs a total equality, so a float is refused where the key is given:
//!
//! ```compile_fail
//! let environment = tidegate::Environment::new("job");
//! environment.socket_text_stream("127.0.0.1:9000").parse::<(f64, i64)>().key_by(|(key, _)| *key);
//! ```
//!
//! State leaves the process with every checkpoint, so a value that serde does not know is refused where it is
//! declared:
//!
//! ```compile_fail
//! #[derive(Clone)]
//! struct NotSerde;
//! tidegate::ValueStateDescriptor::<NotSerde>::new("state");
//! ```

mod board;
mod checkpoint;
pub mod cli;
pub mod config;
mod disk;
mod encoding;
mod journal;
mod json;
mod metrics;
mod mqtt;
mod mutants;
mod operator;
mod query;
mod remote;
mod runtime;
mod sink;
mod source;
mod state;
mod stream;
mod tls;

pub use board::BoardProfile;
pub use checkpoint::{
    ArchiveCipher, ArchiveError, ArchiveKey, Backlog, CheckpointError, CheckpointId, Connectivity, Retention,
    Savepoint, SavepointError, ShippingStatus, Trust, Unusable, UploadLimits, UploadWindow, Verification,
};
pub use journal::JournalError;
pub use metrics::RejectCause;
pub use mqtt::{LastWill, MqttVersion, Qos};
pub use operator::{Collector, KeyedContext, KeyedProcessFunction, OperatorError, WatermarkStrategy};
pub use remote::{RemoteError, RemoteName};
pub use runtime::{
    AfterSavepoint, Backend, Compression, Gap, JobError, JobHandle, JobReport, JournalSettings, JournalSync,
    NotifySocket, Offset, PendingSavepoint, RemoteSettings, Replay, ReplayReport, RestartStrategy, Restored,
    Settings, Start, StateHash, StopHandle, Timestamp,
};
pub use sink::{Collected, MqttPublish, OutboxReport, WhenFull};
pub use source::{
    Acknowledge, ClientCertificate, Exactness, Frame, MqttSource, RecordedBatch, RecordedInput, Retry,
    TcpConnect, TcpListen, TlsListen, UdpReceive, UnixListen, UnixReceive,
};
pub use state::{
    AggregateFunction, AggregatingState, AggregatingStateDescriptor, IncrementalCleanup, KEY_BYTES_MAX, Key,
    KeyGroup, KeyGroupRange, KeyLimitPolicy, ListState, ListStateDescriptor, MAX_PARALLELISM_DEFAULT,
    MapState, MapStateDescriptor, MaxParallelism, OperatorListDescriptor, OperatorListState, Redistribution,
    ReducingState, ReducingStateDescriptor, StateError, StateRegistry, StateTtl, StateValue, StoreError,
    TextKey, TimeDomain, TtlUpdate, TtlVisibility, ValueState, ValueStateDescriptor,
};
pub use stream::{
    Column, Columns, DataStream, Environment, FromColumns, KeyedStream, Line, TextStream, UnionStream,
};
