use crate::{machine::Place,options::Options}; pub fn run(_:&Place,_:&Options)->String{String::new()}
