//! The reference job through the public API: the running average of each key's readings.
//!
//! ```text
//! printf '1 3\n1 5\n1 7\n1 4\n1 2\n' | nc -lN 9000 &
//! cargo run --release --example running_average -- 127.0.0.1:9000
//! ```

use tidegate::{Environment, JobError, Retry, TcpConnect, ValueStateDescriptor};

fn main() -> Result<(), JobError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let server = TcpConnect::new(address).retry(Retry::For(std::time::Duration::from_secs(1)));
    let environment = Environment::new("running-average");
    environment
        .connect(server)
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .flat_map(ValueStateDescriptor::new("avg"), |(key, value), avg, out| {
            let (count, sum) = avg.value().unwrap_or((0, 0i128));
            let (count, sum) = (count + 1, sum + i128::from(value));
            avg.update((count, sum));
            if count >= 2 {
                out.collect((key, sum / count));
            }
        })
        .print();
    environment.execute()?;
    Ok(())
}
