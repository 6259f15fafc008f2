"""Clicks with scikit-learn's FeatureHasher and `partial_fit`: python hashing_sklearn.py DATA"""

import sys

import numpy as np
import pyarrow.parquet
import scipy.sparse
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import roc_auc_score

file = pyarrow.parquet.ParquetFile(sys.argv[1])
last = file.metadata.num_rows - round(0.1 * file.metadata.num_rows)
hasher = FeatureHasher(2**20, input_type="string", alternate_sign=False, dtype=np.float32)
model = SGDClassifier("log_loss", alpha=1e-6, learning_rate="constant", eta0=0.01, random_state=0)
scores, labels, done = [], [], 0
for piece in file.iter_batches(2**16):
    frame = piece.to_pandas()
    words = [(name + "=" + frame[name]).tolist() for name in frame if name[0] == "C"]
    hashed = hasher.transform(zip(*words, strict=True))
    numbers = np.log1p(frame.filter(like="I").fillna(0).to_numpy(np.float32))
    rows, label = scipy.sparse.hstack([numbers, hashed], format="csr"), frame["label"].to_numpy()
    cut = min(max(last - done, 0), len(label))
    if cut:
        model.partial_fit(rows[:cut], label[:cut], [0, 1])
    if cut < len(label):
        scores.append(model.decision_function(rows[cut:]))
        labels.append(label[cut:])
    done += len(label)
print(f"auc {roc_auc_score(np.concatenate(labels), np.concatenate(scores)):.4f}")
