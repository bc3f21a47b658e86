use crate::{machine::Place,mounts::Kind,options::Options}; pub fn run(_:Kind,_:&Place,_:&Options)->String{String::new()}
