# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # TITLE
#
# **The question: what does this lesson answer?**
#
# Say in three sentences why somebody wants to know.
#
# **After this lesson you will be able to**
#
# - do one thing, and then another.
#
# **You need** lesson BEFORE. **Time:** about {{study_minutes}} minutes to study. On {{cores}} processor cores the run
# shown here took {{seconds:.0f}} seconds.
#
# ### Contents
#
# - [A first idea](#A-first-idea)
# - [What you learned](#What-you-learned)
# - [What next](#What-next)

# %% tags=["hide-input"]
import torch

from course_utils import profiles, results

# %% [markdown]
# The settings worth changing. `None` means "as the profile says".

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" is the real thing; "auto" chooses
seed = None  # start of the random numbers

# %% tags=["hide-input"]
settings = profiles.load("NUMBER", profile, seed=seed)

# %% [markdown]
# ## A first idea
#
# One thought a cell, by hand before any helper.
#
# **Predict first.** Ask for a guess, and run the cell.

# %%
generator = torch.Generator().manual_seed(settings.seed)
numbers = torch.randn(1000, generator=generator)
print(f"mean {numbers.mean():.3f}")

# %% tags=["hide-input"]
assert numbers.shape == (1000,), "expected 1,000 numbers"
results.record(mean=numbers.mean())

# %% [markdown]
# <details><summary>Answer</summary>
#
# The mean of these numbers is {{mean:.3f}} in the run shown on this page: such a figure is never typed.
#
# </details>
#
# ### Go deeper: What not everybody needs
#
# A fold, up to the next heading.
#
# ## What you learned
#
# - What the lesson showed, a line each.
#
# ## What next
#
# Where to go from here.
