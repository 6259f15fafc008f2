def judge_table(options): yield
