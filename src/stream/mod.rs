//! The typed API: streams of records, built into a topology.
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

mod columns;
mod data_stream;
mod decimal;
mod environment;
mod keyed_stream;
mod line;
mod text_stream;
mod topology;
mod union_stream;

pub use columns::{Column, Columns, FromColumns};
pub use data_stream::DataStream;
pub use environment::Environment;
pub use keyed_stream::KeyedStream;
pub use line::Line;
pub use text_stream::TextStream;
pub(crate) use topology::{ChainFactory, Sink, Stage, StageSlot, Target, Topology, TopologyBuilder};
pub use union_stream::UnionStream;
