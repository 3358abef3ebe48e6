"""A network without a shortcut: trained again on the audit's own edits of its training images, then audited beside the old one.

suspects   what is mended: the suspects of a run whose effect exceeds its limit, or those that are named
learnt     the training and validation images; never those of the test split
copies     their edited copies, made by the suite's own perturbations, with what the last layer reads of them; resumable
taught     which training images carry a suspect, and which owe most to it
honest     images on which the suspects buy nothing: no accuracy may be lost there without being reported
measured   effect and accuracy on validation images, from logits
choosing   which of several last layers is taken, by cross-validation over patients
last_layer method 1: the last layer, fitted again on cached features (Kirichenko et al. 2023)
group_dro  method 3: the last layer, fitted for the group that it serves worst (Sagawa et al. 2020)
augment    method 2: the edits as augmentation in the last phase of training
methods    the three behind one function
making     the methods in turn, until one is enough
written    the new bundle, checked against the network that was trained
proof      the old and the new network on the same test images: paired changes, and a verdict
advice     what editing images would cost where a network cannot be trained
mending    all of it, in order
"""
