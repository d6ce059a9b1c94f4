package tests

import "strings"

// What is run in the simulator and for real: see script.
var scripts = []script{
	{"messages come in order", mqueueName, `
mailbox a
process p:
  send a "1"
  send a "2"
  send a "3"
process q:
  repeat 3:
    receive a -> x
`},
	{"two senders", mqueueName, `
mailbox a
process p * 2:
  send a "first of " + me
  send a "second of " + me
process q:
  repeat 4:
    receive a -> x
`},
	{"two receivers", mqueueName, `
mailbox a
process p:
  send a "1"
  send a "2"
process q * 2:
  receive a -> x
`},
	{"a full queue makes its sender wait", mqueueName, `
mailbox a capacity=1
process p:
  send a "1"
  send a "2"
  send a "3"
process q:
  repeat 3:
    receive a -> x
`},
	{"full and empty without waiting", mqueueName, `
mailbox a capacity=1
process p:
  try send a "1" nonblock
  try send a "2" nonblock
  try receive a -> x nonblock
  try receive a -> x nonblock
`},
	{"a race with a receiver that does not wait", mqueueName, `
mailbox a
process p:
  try receive a -> x nonblock
  try receive a -> x nonblock
process q:
  send a "1"
`},
	{"nobody sends", mqueueName, `
mailbox a
process p * 2:
  receive a -> x
process q:
  send a "1"
`},
	{"a deadlock of two", mqueueName, `
mailbox a
mailbox b
process p:
  receive a -> x
  send b "p"
process q:
  receive b -> x
  send a "q"
`},
	{"a time-out against a message", mqueueName, `
mailbox a
process p:
  try receive a -> x within 1ms
process q:
  sleep 1ms
  send a "1"
`},
	{"a sender's time-out", mqueueName, `
mailbox a capacity=1
process p:
  send a "1"
  try send a "2" within 2ms
`},
	{"a message that is too long", mqueueName, `
mailbox a max_message=8
process p:
  try send a "123456789"
  try send a "12345678"
  receive a -> x
`},
	{"a killed receiver takes no message with it", mqueueName, `
mailbox a
process p:
  receive a -> x
process q:
  while blocked(p) == 0:
    yield
  kill p
  send a "1"
process r:
  receive a -> x
`},
	{"the highest priority first, and in order within one", mqueueName, `
mailbox a order=priority
process p:
  send a "1" priority 1
  send a "2" priority 31
  send a "3" priority 1
  send a "4"
process q:
  repeat 4:
    receive a -> x
`},
	{"priorities of two senders at a full queue", mqueueName, `
mailbox a order=priority capacity=1
process p:
  send a "low" priority 2
process q:
  send a "high" priority 3
  send a "highest" priority 4
process r:
  repeat 3:
    receive a -> x
`},
	{"bytes come in order, then end of file", fifoName, `
pipe a
process p:
  write a "abc"
  write a "defgh"
  close a
process q:
  x = "?"
  got = ""
  while x != "":
    read a 4 -> x
    got = got + x
  print got
`},
	{"small writes are whole", fifoName, `
pipe a
process p * 2:
  write a "<" + me + ">"
process q:
  read a 3 -> x
  read a 3 -> x
`},
	{"nobody reads", fifoName, `
pipe a
process p:
  write a "1"
  while exited(q) == 0:
    yield
  try write a "2"
process q:
  read a -> x
`},
	{"empty, then ended, without waiting", fifoName, `
pipe a
process p:
  try read a -> x nonblock
  while exited(q) == 0:
    yield
  try read a -> x nonblock
  try read a -> x nonblock
process q:
  write a "1"
`},
	{"a full pipe without waiting", fifoName, `
pipe a capacity=4096
process p:
  write a "` + strings.Repeat("x", 4096) + `"
  try write a "y" nonblock
  read a 4096 -> x
  try write a "y" nonblock
  read a -> x
`},
	{"a full pipe makes its writer wait", fifoName, `
pipe a capacity=4096
process p:
  write a "` + strings.Repeat("x", 4096) + `"
  write a "y"
process q:
  read a 4096 -> x
  read a -> y
  read a -> z
`},
	{"two readers", fifoName, `
pipe a
process p:
  write a "12"
process q * 2:
  read a 1 -> x
`},
	{"a deadlock over two pipes", fifoName, `
pipe a
pipe b
process p:
  read a -> x
  write b "p"
process q:
  read b -> x
  write a "q"
`},
	{"the death of the writer is end of file", fifoName, `
pipe a
pipe b
process p:
  write a "1"
  read b -> x
process q:
  while blocked(p) == 0:
    yield
  kill p
process r:
  read a -> x
  read a -> x
process s:
  while exited(r) == 0:
    yield
  try write b "2"
`},
	{"wait and post", sysvName, `
semaphore s
process p:
  wait s
  wait s
process q:
  post s
  post s
`},
	{"one unit for two", sysvName, `
semaphore s
process p * 2:
  wait s
process q:
  post s
`},
	{"two units at once", sysvName, `
semaphore s
process p:
  wait s 2
process q * 2:
  post s
`},
	{"no unit, without waiting", sysvName, `
semaphore s value=1
process p * 2:
  try wait s nonblock
`},
	{"a time-out against a post", sysvName, `
semaphore s
process p:
  try wait s within 1ms
process q:
  sleep 1ms
  post s
`},
	{"mutual exclusion", sysvName, `
semaphore s value=1
shared n = 0
process p * 3:
  repeat 2:
    wait s
    n = n + 1
    post s
finally n == 6
`},
	{"the death of the holder gives back", sysvName, `
semaphore s value=1
process p:
  hold s
  wait s
process q:
  while blocked(p) == 0:
    yield
  kill p
  hold s
  release s
`},
	{"the end of the holder gives back", sysvName, `
semaphore s value=1
process p * 2:
  hold s
`},
	{"destroyed while one waits", sysvName, `
semaphore s
process p:
  try wait s
process q:
  while blocked(p) == 0:
    yield
  destroy s
`},
	{"a signal ends a wait", sysvName, `
semaphore s
process p:
  try wait s
process q:
  while blocked(p) == 0:
    yield
  signal p
`},
	{"rendezvous", "", `
mailbox a capacity=0
process p:
  send a "1"
  try send a "2" nonblock
process q:
  receive a -> x
`},
	{"the oldest is dropped", "", `
mailbox a capacity=1 overflow=drop-oldest
process p * 2:
  send a "from " + me
process q:
  receive a -> x
  try receive a -> x nonblock
`},
	{"the newest is dropped", "", `
mailbox a capacity=1 overflow=drop-newest
process p:
  send a "1"
  send a "2"
process q:
  receive a -> x
  try receive a -> x nonblock
`},
	{"a signal ends a receive, and takes nothing", "", `
mailbox a
process p:
  try receive a -> x
process q:
  while blocked(p) == 0:
    yield
  signal p
  send a "1"
`},
	{"who selects gets what was selected", "", `
mailbox a capacity=2
process p:
  send a "1" topic "red"
  send a "2" topic "blue"
  send a "3" priority 7
  send a "4"
process q:
  receive a topic "blue" -> x
  receive a priority 7 -> x
process r:
  receive a topic "red" -> x
  receive a from 0 -> x
  try receive a from 1 -> x nonblock
`},
	{"an urgent message against a full mailbox", "", `
mailbox a capacity=1
process p:
  send a "1"
  send a "2"
process q:
  send a "3" urgent
process r:
  receive a -> x
  try receive a urgent -> x nonblock
  receive a -> x
  receive a -> x
`},
	{"who waits for a topic is past the others", "", `
mailbox a capacity=0
process p:
  try send a "1" within 1ms
process q:
  send a "2" topic "red"
process r:
  receive a topic "red" -> x
`},
	{"what has expired makes room", "", `
mailbox a capacity=1 ttl=1ms
process p:
  send a "1"
  send a "2"
  sleep 2ms
  try receive a -> x nonblock
`},
	{"opened again", "", `
mailbox a
process p:
  try send a "1"
  open a
  open a
  send a "2"
  close a
  try send a "3"
  open a
  receive a -> x
`},
	{"messages that overtake a stream", "", `
pipe a lifetime=persistent
process p:
  write a "1"
  send a "2"
  send a "3"
process q:
  receive a -> x
  receive a -> x
  read a -> x
`},
	{"leases that end in each way", "", `
mailbox d
mailbox a max_deliveries=2 dead_letters=d
process p:
  send a "1"
  send a "2"
process q:
  lease a -> x
  try lease a -> x
  nack a
  lease a -> x
  ack a
  try ack a
  lease a -> x
  close a
process r:
  receive d -> x
`},
	{"a lease that is extended, and one that runs out", "", `
mailbox a lease_time=1s
process p:
  send a "1"
  lease a -> x
  extend a 1ms
  sleep 3ms
  try extend a 1s
  try ack a
  receive a -> x
`},
	{"the death of who has a lease", "", `
mailbox a
mailbox b
process p:
  lease a -> x
  lease b -> x
process q:
  send a "1"
  while blocked(p) == 0 or messages(a) > 0:
    yield
  kill p
process r:
  while killed(p) == 0:
    yield
  lease a -> x
  ack a
`},
	{"receipts", "", `
mailbox a capacity=1 overflow=drop-oldest
process p:
  receipt a -> x
  send a "1"
  receipt a -> x
  receipt a -> x
  send a "2"
  flush a
  receipt a -> x
process q:
  receive a -> x
  try receive a -> x nonblock
`},
	{"a receipt of what expires", "", `
mailbox a ttl=1ms
process p:
  send a "1"
  receipt a -> x
  try send a "2"
  try receipt a -> x nonblock
  receipt a -> x within 10s
`},
	{"everyone hears it", "", `
mailbox a receivers=broadcast capacity=1
process p:
  send a "1"
  send a "2"
process q * 2:
  receive a -> x
  receive a -> x
`},
	{"everyone comes to a rendezvous", "", `
mailbox a receivers=broadcast capacity=0
process p:
  send a "1"
  receipt a -> x
process q * 2:
  receive a -> x
`},
	{"one receives", "", `
mailbox a receivers=single
mailbox b
process p:
  open a
  receive a -> x
  close a
  send b "done"
process q:
  send a "1"
  send a "2"
process r:
  receive b -> x
  open a
  receive a -> x
`},
	{"a third is refused", "", `
mailbox a receivers=pair
semaphore s
process p:
  send a "1"
  wait s
process q:
  receive a -> x
  wait s
process r:
  try open a
  post s
  post s
  try send a "2"
`},
	{"lines", "", `
mailbox a framing=line capacity=1
process p * 2:
  send a "of " + me + "\n" + "more "
  send a "of " + me + "\n"
  send a "rest"
process q:
  repeat 6:
    receive a -> x
`},
	{"what is written until the file is closed", "", `
mailbox a framing=close
process p * 2:
  send a "1"
  send a "2"
process q:
  repeat 2:
    receive a -> x
`},
	{"who is killed has sent nothing of it", "", `
mailbox a framing=close
semaphore s
process p:
  send a "1"
  wait s
process q:
  while blocked(p) == 0:
    yield
  kill p
process r:
  while killed(p) == 0:
    yield
  sleep 1ms
  try receive a -> x nonblock
`},
	{"first come, first served, however many units", "", `
semaphore s
process p:
  wait s 2
process q:
  while blocked(p) == 0:
    yield
  try wait s nonblock
  post s
  try wait s nonblock
  post s
`},
}

// oracleRuns is how often each script runs for real, in each place.
const oracleRuns = 3
