"""A network without a shortcut: trained again on the audit's own edits of its training images, then audited beside the old one.

suspects   what is mended: the suspects of a run whose effect exceeds its limit, or those that are named
learnt     the training and validation images; never those of the test split
copies     their edited copies, made by the suite's own perturbations, with what the last layer reads of them; resumable
taught     which training images carry a suspect, and which owe most to it
measured   effect and accuracy on validation images, from logits
last_layer method 1: the last layer, fitted again on cached features (Kirichenko et al. 2023)
augment    method 2: the edits as augmentation in the last phase of training
written    the new bundle, checked against the network that was trained
proof      the old and the new network on the same test images: paired changes, and a verdict
mending    all of it, in order
"""
