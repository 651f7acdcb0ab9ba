//! What the service counts, as Prometheus reads it.

use std::sync::Arc;

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

/// All metrics; cheap to clone.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the help text of each metric, below, says what it is")]
pub struct Metrics {
    registry: Arc<Registry>,
    pub requests: IntCounterVec,
    pub latency: HistogramVec,
    pub in_flight: IntGauge,
    pub shed: IntCounter,
    pub pool_size: IntGauge,
    pub pool_in_use: IntGauge,
    pub pool_waiting: IntGauge,
    pub pool_wait: Histogram,
    pub pool_timeouts: IntCounter,
    pub disk_errors: IntCounter,
    pub read_only: IntGauge,
    pub alerts: IntGaugeVec,
    pub alerts_raised: IntCounterVec,
    pub rpc_calls: IntCounterVec,
    pub rpc_latency: HistogramVec,
    pub rpc_retries: IntCounterVec,
    pub breaker: IntGaugeVec,
    pub escrows: IntGaugeVec,
    pub multisig_rejected: IntCounterVec,
    pub rollbacks: IntCounterVec,
    pub settlements: IntCounterVec,
    pub users_online: IntGauge,
    pub log_lost: IntCounter,
    pub errors: IntCounterVec,
}

const BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Makes metrics and registers them; remembers the first failure.
struct Maker {
    registry: Registry,
    failed: Option<prometheus::Error>,
}

impl Maker {
    fn add<C: Collector + Clone + 'static>(&mut self, made: &C) {
        if let Err(error) = self.registry.register(Box::new(made.clone())) {
            self.failed.get_or_insert(error);
        }
    }
    fn counter(&mut self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        let made = IntCounter::new(format!("marketplace_{name}"), help)?;
        self.add(&made);
        Ok(made)
    }
    fn counters(&mut self, n: &str, help: &str, l: &[&str]) -> prometheus::Result<IntCounterVec> {
        let made = IntCounterVec::new(Opts::new(format!("marketplace_{n}"), help), l)?;
        self.add(&made);
        Ok(made)
    }
    fn gauge(&mut self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let made = IntGauge::new(format!("marketplace_{name}"), help)?;
        self.add(&made);
        Ok(made)
    }
    fn gauges(&mut self, n: &str, help: &str, l: &[&str]) -> prometheus::Result<IntGaugeVec> {
        let made = IntGaugeVec::new(Opts::new(format!("marketplace_{n}"), help), l)?;
        self.add(&made);
        Ok(made)
    }
    fn histograms(&mut self, n: &str, help: &str, l: &[&str]) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::new(format!("marketplace_{n}"), help).buckets(BUCKETS.to_vec());
        let made = HistogramVec::new(opts, l)?;
        self.add(&made);
        Ok(made)
    }
}

impl Metrics {
    /// Makes and registers them.
    pub fn new() -> prometheus::Result<Self> {
        let mut m = Maker { registry: Registry::new(), failed: None };
        let wait = HistogramOpts::new("marketplace_pool_wait_seconds", "Wait for a connection")
            .buckets(BUCKETS.to_vec());
        let pool_wait = Histogram::with_opts(wait)?;
        m.add(&pool_wait);
        let metrics = Self {
            requests: m.counters("requests_total", "Requests answered", &["route", "status"])?,
            latency: m.histograms("request_seconds", "Time to answer a request", &["route"])?,
            in_flight: m.gauge("requests_in_flight", "Requests being worked on")?,
            shed: m.counter("requests_shed_total", "Requests refused because of overload")?,
            pool_size: m.gauge("pool_size", "Database connections")?,
            pool_in_use: m.gauge("pool_in_use", "Database connections in use")?,
            pool_waiting: m.gauge("pool_waiting", "Requests waiting for a connection")?,
            pool_wait,
            pool_timeouts: m.counter("pool_timeouts_total", "Waits for a connection given up")?,
            disk_errors: m.counter("disk_errors_total", "Writes that the disk refused")?,
            read_only: m.gauge("read_only", "1 while writes are refused")?,
            alerts: m.gauges("alert", "1 while the alert is raised", &["name"])?,
            alerts_raised: m.counters("alerts_total", "Alerts raised", &["name"])?,
            rpc_calls: m.counters("rpc_calls_total", "Wallet calls", &["wallet", "result"])?,
            rpc_latency: m.histograms("rpc_seconds", "Time of a wallet call", &["wallet"])?,
            rpc_retries: m.counters("rpc_retries_total", "Wallet calls retried", &["wallet"])?,
            breaker: m.gauges(
                "breaker_state",
                "Circuit breaker: 0 closed, 1 half open, 2 open",
                &["wallet"],
            )?,
            escrows: m.gauges("escrows", "Escrows by state", &["state"])?,
            multisig_rejected: m.counters(
                "multisig_rejected_total",
                "Multisig info rejected",
                &["reason"],
            )?,
            rollbacks: m.counters("rollbacks_total", "Escrow steps rolled back", &["from"])?,
            settlements: m.counters("settlements_total", "Payouts made", &["kind"])?,
            users_online: m.gauge("users_online", "Users seen lately")?,
            log_lost: m.counter("log_lines_lost_total", "Log lines that could not be written")?,
            errors: m.counters("errors_total", "Requests that failed", &["code"])?,
            registry: Arc::new(m.registry),
        };
        m.failed.map_or(Ok(metrics), Err)
    }

    /// Raises or clears an alert.
    pub fn alert(&self, name: &str, raised: bool) {
        self.alerts.with_label_values(&[name]).set(i64::from(raised));
        if raised {
            self.alerts_raised.with_label_values(&[name]).inc();
        }
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be rendered");
        }
        text
    }
}
