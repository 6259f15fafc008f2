"""One engine more: the lanes of a run served by the workers of a Dask cluster, bit for bit.

What data flows where. The client, the process that calls ``trainer.fit(dataset, client=client)``,
holds parameters, optimizer state, watchers and checkpoints, as any run does; a worker holds lanes.

1. A lane is a fixed share of the dataset's blocks (`ooc.stream.lanes`). Its worker reads, decodes
   and permutes them near the data with the native reader. No row travels.
2. For each step the client sends every worker the parameters once, and for each of its lanes which
   rows of the window's part to take: two places, `ooc.cluster.messages.Share`.
3. The worker sends back one gradient a lane: the sum over those rows, in the type of the
   parameters. A lane's rows are one share of the compiled loop (`ooc.kernels.lane_loop`), so that
   the client adds them up in the order of the lanes and takes the step exactly as one process with
   the same lanes does. The bits depend on the lanes, never on who served them.

What a worker knows of a lane follows from the plan and the place that each message names: nothing
else is kept there. So where a worker dies or joins, a lane goes to another one, which opens it at
the place at hand, and the same question is asked again; the answer is the same to the last bit,
and is used once. Checkpoints know no workers: a run begun here resumes on one machine, and the
other way round.

With local steps (`ooc.cluster.local_steps`) a lane takes steps by itself, and what it has comes
back with each answer: a round, too, goes on wherever its lane does, and in one process without a
cluster (`ooc.cluster.home`). With backup lanes a step goes on without the last gradients; then
alone the bits depend on who was late.

Dask starts a long task ``ooc-lanes-...`` on each worker, which holds one of its threads, and tells
who is there. Steps go past the scheduler, on connections of Dask's own from the client to the
workers' own addresses, with the client's TLS where it has any, whose sockets the threads that need
them read and write themselves (`ooc.cluster.line`). Nothing new listens anywhere. What travels in a
step is numbers and arrays as bytes; the task's arguments, the dataset's description and the model,
are pickled in transit, as those of any Dask task are. Nothing is pickled from disk.
"""
