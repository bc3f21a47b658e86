pub fn run(_:&[&str])->std::process::ExitCode{todo!()}
