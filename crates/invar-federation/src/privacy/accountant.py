# Makes accounted.in: epsilon of composed Gaussian mechanisms by dp-accounting's privacy loss distributions.
# pip install dp-accounting==0.6.0; python accountant.py > accounted.in
from dp_accounting import dp_event
from dp_accounting.pld import pld_privacy_accountant

rows = []
for noise in (0.3, 0.7, 1.0, 2.0, 5.0, 20.0):
    for rounds in (1, 10, 100):
        for delta in (1e-5, 1e-8):
            accountant = pld_privacy_accountant.PLDAccountant()
            accountant.compose(dp_event.GaussianDpEvent(noise), rounds)
            epsilon = accountant.get_epsilon(delta)
            if epsilon < 300:
                rows.append(f"    ({noise}, {rounds}, {delta:e}, {epsilon:.6f}),")
print("&[\n" + "\n".join(rows) + "\n]")
