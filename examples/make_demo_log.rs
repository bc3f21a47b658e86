//! Makes `assets/demo.log`, the file that `tierlog demo` takes when it is given none.
//!
//! `cargo run --example make_demo_log -- assets/demo.log`
//!
//! Five minutes of a small shop: a gateway, services that each log in their own way, stack traces
//! over many lines, names in many scripts. It also holds what breaks line readers: empty lines,
//! lines that end in CR, one line of 150 KB, no newline at the end. The same bytes every time, so
//! that the committed file can be checked against its maker.

use std::fmt::Write as _;

/// About this many bytes; generation stops after the line that passes it.
const TARGET: usize = 3_000_000;
/// 2026-03-14T09:26:53Z in milliseconds.
const BEGIN_MS: u64 = 1_773_480_413_000;
/// Where the very long line goes.
const LONG_LINE_AT: usize = 1_700_000;

const CUSTOMERS: [&str; 12] = [
    "María Fernández",
    "佐藤 花子",
    "Søren Kjær",
    "Zoë O’Brien",
    "Łukasz Wiśniewski",
    "Nguyễn Thị Mai",
    "Олена Коваленко",
    "Jürgen Groß",
    "أمينة الحسن",
    "Ada Lovelace",
    "김민준",
    "Efua 🌻 Mensah",
];
const PRODUCTS: [&str; 8] = [
    "kettle-2l",
    "desk-lamp",
    "garden-hose-30m",
    "chess-set",
    "rain-jacket-m",
    "espresso-cup",
    "trail-map",
    "usb-hub",
];
const PATHS: [&str; 9] = [
    "/",
    "/api/v2/cart",
    "/api/v2/orders",
    "/api/v2/orders/{id}/invoice.pdf",
    "/search?q=caf%C3%A9+grinder&page=2",
    "/static/app.9f31c2.js",
    "/healthz",
    "/api/v2/session",
    "/../../etc/passwd",
];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:136.0) Gecko/20100101 Firefox/136.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15",
    "curl/8.12.1",
    "shop-android/7.2 (Pixel 8; Android 15)",
];
const JAVA_FRAMES: [&str; 8] = [
    "com.example.search.index.SegmentReader.open(SegmentReader.java:214)",
    "com.example.search.index.IndexSearcher.acquire(IndexSearcher.java:88)",
    "com.example.search.query.Planner.plan(Planner.java:401)",
    "com.example.search.http.QueryHandler.handle(QueryHandler.java:57)",
    "java.base/java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:1144)",
    "java.base/java.util.concurrent.FutureTask.run(FutureTask.java:317)",
    "io.netty.channel.AbstractChannelHandlerContext.invokeChannelRead(Unknown Source)",
    "java.base/java.lang.Thread.run(Thread.java:1583)",
];

/// SplitMix64: small, and the same on every machine for ever.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }

    /// Most are quick and a few are very slow, as latencies are.
    fn latency_us(&mut self) -> u64 {
        let body = 300 + self.below(4_000);
        match self.below(100) {
            0 => body * 400,
            1..=5 => body * 20,
            _ => body,
        }
    }
}

struct Shop {
    dice: Dice,
    now_ms: u64,
    order: u64,
    out: String,
}

impl Shop {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a String takes everything");
        self.out.push('\n');
    }

    /// `2026-03-14T09:26:53.589Z`. All of it happens within one day.
    fn stamp(&self) -> String {
        let ms = self.now_ms % 86_400_000;
        let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        format!("2026-03-14T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1000)
    }

    /// One customer's request, as each service that sees it tells it.
    fn request(&mut self) {
        self.now_ms += self.dice.below(90);
        let id = self.dice.roll();
        self.gateway(id);
        match self.dice.below(12) {
            0..=4 => self.order(id),
            5..=6 => self.search(id),
            7 => self.auth(),
            8 => self.mailer(id),
            9 => self.scheduler(),
            10 => self.cache_agent(),
            _ => {}
        }
    }

    fn gateway(&mut self, id: u64) {
        let (path, agent) = (self.dice.pick(&PATHS), self.dice.pick(&AGENTS));
        let status = match (path, self.dice.below(60)) {
            ("/../../etc/passwd", _) => 400,
            ("/healthz", _) => 200,
            (_, 0) => 502,
            (_, 1) => 429,
            (_, 2..=3) => 404,
            (_, 4..=9) => 304,
            _ => 200,
        };
        let path = path.replace("{id}", &self.order.to_string());
        let method = if path.ends_with("cart") || path.ends_with("session") {
            "POST"
        } else {
            "GET"
        };
        let (host, bytes) = (self.dice.below(250) + 1, self.dice.below(80_000));
        let seconds = self.dice.latency_us() as f64 / 1e6;
        let stamp = self.stamp();
        self.line(format_args!(
            "203.0.113.{host} - - [{stamp}] \"{method} {path} HTTP/2.0\" {status} {bytes} \
             \"-\" \"{agent}\" rt={seconds:.6} req={id:016x}"
        ));
    }

    fn order(&mut self, id: u64) {
        self.order += 1;
        let (order, stamp) = (self.order, self.stamp());
        let (who, what) = (self.dice.pick(&CUSTOMERS), self.dice.pick(&PRODUCTS));
        let (quantity, cents) = (self.dice.below(5) + 1, self.dice.below(20_000) + 99);
        let us = self.dice.latency_us();
        self.line(format_args!(
            "ts={stamp} level=info svc=orders req={id:016x} msg=\"order placed\" order={order} \
             customer=\"{who}\" sku={what} qty={quantity} total={}.{:02} took={us}us",
            cents / 100,
            cents % 100,
        ));
        let (outcome, psp) = match self.dice.below(20) {
            0 => ("declined", "insufficient_funds"),
            1 => ("retry", "psp_timeout"),
            _ => ("captured", "ok"),
        };
        let millis = self.dice.latency_us() / 100;
        self.line(format_args!(
            "{{\"time\":\"{stamp}\",\"level\":\"{}\",\"service\":\"payments\",\"request_id\":\
             \"{id:016x}\",\"order\":{order},\"outcome\":\"{outcome}\",\"psp\":{{\"code\":\"{psp}\",\
             \"latency_ms\":{millis}}},\"card\":\"**** **** **** {:04}\"}}",
            if psp == "ok" { "INFO" } else { "WARN" },
            order * 7919 % 10_000,
        ));
        if self.dice.below(6) == 0 {
            let (left, shelf) = (self.dice.below(40), self.dice.below(90));
            self.line(format_args!(
                "I{} inventory/reserve.go:{}] reserved {what} x{quantity} shelf=B-{shelf} left={left} order={order}",
                &stamp[5..23], 100 + left,
            ));
        }
    }

    fn search(&mut self, id: u64) {
        let (stamp, us) = (self.stamp(), self.dice.latency_us());
        if self.dice.below(14) != 0 {
            let hits = self.dice.below(4_000);
            self.line(format_args!(
                "{stamp} INFO  [query-{}] c.e.s.h.QueryHandler - {id:016x} hits={hits} shards=4/4 took={us}µs",
                id % 16
            ));
            return;
        }
        self.line(format_args!(
            "{stamp} ERROR [query-{}] c.e.s.h.QueryHandler - {id:016x} failed after {us}µs",
            id % 16
        ));
        self.line(format_args!(
            "com.example.search.index.IndexClosedException: segment _{:x} is closed",
            id % 4096
        ));
        for _ in 0..4 + self.dice.below(9) {
            let frame = self.dice.pick(&JAVA_FRAMES);
            self.line(format_args!("\tat {frame}"));
        }
        self.line(format_args!(
            "Caused by: java.io.IOException: Stale file handle"
        ));
        self.line(format_args!("\t... {} more", 7 + id % 30));
        // Some libraries put a blank line behind a trace.
        self.line(format_args!(""));
    }

    fn auth(&mut self) {
        let (pid, host) = (2000 + self.dice.below(400), self.dice.below(250) + 1);
        let stamp = &self.stamp()[11..19];
        let what = match self.dice.below(4) {
            0 => "Failed password for invalid user admin",
            1 => "Accepted publickey for deploy",
            _ => "session opened for user shop(uid=1001)",
        };
        self.line(format_args!(
            "Mar 14 {stamp} bastion-1 sshd[{pid}]: {what} from 198.51.100.{host} port {} ssh2",
            30_000 + pid
        ));
    }

    fn mailer(&mut self, id: u64) {
        let (stamp, who) = (self.stamp(), self.dice.pick(&CUSTOMERS));
        let subject = match self.dice.below(3) {
            0 => "Ваш заказ отправлен",
            1 => "ご注文ありがとうございます",
            _ => "Your parcel is on its way 📦",
        };
        self.line(format_args!(
            "{stamp} mailer[{}]: to=\"{who}\" subject=\"{subject}\" queue={} status=sent",
            id % 9000,
            id % 17
        ));
    }

    fn scheduler(&mut self) {
        let (stamp, job) = (self.stamp(), self.dice.below(60));
        if self.dice.below(8) != 0 {
            let rows = self.dice.below(9_000);
            self.line(format_args!(
                "{stamp} scheduler DEBUG job={job} rows={rows} lag=0 ok"
            ));
            return;
        }
        self.line(format_args!("{stamp} scheduler ERROR job={job} raised"));
        self.line(format_args!("Traceback (most recent call last):"));
        for depth in 0..2 + self.dice.below(4) {
            self.line(format_args!(
                "  File \"/srv/jobs/step_{depth}.py\", line {}, in run",
                10 + job * 3 + depth
            ));
            self.line(format_args!(
                "    return self.inner(batch[{depth}:], retry=False)"
            ));
        }
        self.line(format_args!(
            "psycopg.OperationalError: server closed the connection unexpectedly"
        ));
        self.line(format_args!(""));
    }

    /// An agent on Windows: its lines end in CR LF, and the CR is part of the record.
    fn cache_agent(&mut self) {
        let (stamp, hits) = (self.stamp(), self.dice.below(100));
        self.line(format_args!(
            "{stamp}\tEDGE-WIN-03\tcache\thit_ratio=0.{hits:02}\tevicted={}\r",
            hits * 13
        ));
        if hits == 0 {
            // A progress bar that somebody logged: CRs inside the line.
            self.line(format_args!("warming: 10%\rwarming: 55%\rwarming: 100%"));
        }
    }

    /// A query plan that somebody logged whole.
    fn long_line(&mut self) {
        let stamp = self.stamp();
        let mut plan =
            format!("{stamp} WARN  [query-7] c.e.s.q.Planner - slow plan: {{\"nodes\":[");
        while plan.len() < 150_000 {
            let (node, cost) = (self.dice.roll() >> 32, self.dice.below(1_000_000));
            write!(
                plan,
                "{{\"id\":\"{node:08x}\",\"op\":\"merge\",\"cost\":{cost}}},"
            )
            .expect("a String");
        }
        plan.push_str("null]}");
        self.line(format_args!("{plan}"));
    }
}

/// The whole file.
pub fn demo_log() -> Vec<u8> {
    let mut shop = Shop {
        dice: Dice(1),
        now_ms: BEGIN_MS,
        order: 48_210,
        out: String::with_capacity(TARGET + 4096),
    };
    let mut long_line_due = true;
    while shop.out.len() < TARGET {
        shop.request();
        if long_line_due && shop.out.len() > LONG_LINE_AT {
            shop.long_line();
            long_line_due = false;
        }
    }
    // A file that was cut while somebody wrote it: no newline at the end.
    let stamp = shop.stamp();
    shop.line(format_args!(
        "{stamp} INFO  [main] c.e.s.Application - shutting down, 0 requests left"
    ));
    shop.out.pop();
    shop.out.into_bytes()
}

#[allow(
    dead_code,
    reason = "the test of the shipped file takes `demo_log` alone"
)]
fn main() -> std::io::Result<()> {
    let path = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "assets/demo.log".into());
    std::fs::write(path, demo_log())
}
