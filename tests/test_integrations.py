"""The callbacks in the real libraries: one line, and each mistake of the loop is told."""

import pytest
import torch
import torch.nn.functional as F
from tests.zoo import data, models
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import losscope as ls
from losscope.watching import FindingWarning

# The libraries warn of their own affairs: few workers, deprecated imports, no accelerator.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::PendingDeprecationWarning",
    "ignore:.*(num_workers|log_every_n_steps|pin_memory|GPU available|LeafSpec|tensorboard).*:UserWarning",
)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


# ------------------------------------------------------------------------------------------------ Lightning

lightning = pytest.importorskip("lightning.pytorch", exc_type=ImportError)
from losscope.integrations.lightning import WatchLoss  # noqa: E402


class Digits(lightning.LightningModule):
    """A classifier whose loss is a module or a function, and whose outputs may be spoilt."""

    def __init__(self, loss=None, spoil=lambda z: z, targets=lambda y: y):
        super().__init__()
        self.net = models.perceptron(64, 10)
        self.loss = loss
        self.spoil, self.targets = spoil, targets

    def training_step(self, batch, _):
        x, y = batch
        return (self.loss or F.cross_entropy)(self.spoil(self.net(x)), self.targets(y))

    def validation_step(self, batch, _):
        self.training_step(batch, _)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


def fit(module, callback, tmp_path, *, x=None, y=None, batch=32, **options):
    x, y = data.table("digits") if x is None else (x, y)
    trainer = lightning.Trainer(
        callbacks=[callback],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **{"max_epochs": 1, **options},
    )
    loader = DataLoader(TensorDataset(x, y), batch_size=batch)
    trainer.fit(module, loader, DataLoader(TensorDataset(x[:64], y[:64]), batch_size=32))
    return trainer


KINDS = pytest.mark.parametrize("loss", [None, nn.CrossEntropyLoss, ls.CrossEntropyLoss], ids=str)


@KINDS
def test_lightning_tells_a_softmax_too_many(loss, tmp_path):
    found = []
    module = Digits(loss and loss(), spoil=lambda z: z.softmax(1))
    fit(module, WatchLoss(on_finding=found.append), tmp_path, limit_train_batches=3)
    assert [f.rule for f in found if f.severity != "info"] == ["softmax-before-cross-entropy"]


@KINDS
def test_lightning_is_silent_on_a_healthy_module(loss, tmp_path):
    module = Digits(loss and loss())
    fit(module, WatchLoss(every=10), tmp_path, max_epochs=3)  # a warning would be an error
    assert module.loss is None or not module.loss._forward_hooks


def test_lightning_warns(tmp_path):
    with pytest.warns(FindingWarning, match="target-out-of-range"), pytest.raises(IndexError):
        fit(Digits(targets=lambda y: y + 1), WatchLoss(), tmp_path, num_sanity_val_steps=0)
    assert torch.overrides._get_current_function_mode_stack() == []


@KINDS
def test_lightning_accumulation(loss, tmp_path):
    """Every second micro-batch counts a third of its targets."""
    found = []
    x, y = data.table("digits")
    y = torch.where((torch.arange(len(y)) // 32 % 2 == 1) & (torch.arange(len(y)) % 3 > 0), -100, y)
    fit(
        Digits(loss and loss()),
        WatchLoss(on_finding=found.append),
        tmp_path,
        x=x,
        y=y,
        accumulate_grad_batches=2,
        limit_train_batches=12,
    )
    assert "unequal-valid-counts" in [f.rule for f in found]


def test_lightning_with_autocast(tmp_path):
    found = []
    module = Digits(spoil=lambda z: z.softmax(1))
    fit(module, WatchLoss(on_finding=found.append), tmp_path, limit_train_batches=3, precision="bf16-mixed")
    assert "softmax-before-cross-entropy" in [f.rule for f in found]


def test_lightning_looks_again_later(tmp_path):
    """Right for the first twenty steps and wrong from then on."""
    found = []
    module = Digits(spoil=lambda z: z.softmax(1) if module.global_step >= 20 else z)
    fit(module, WatchLoss(every=30, on_finding=found.append), tmp_path, limit_train_batches=40)
    assert "softmax-before-cross-entropy" in [f.rule for f in found]


class ByHand(Digits):
    def training_step(self, batch, _):
        x, y = batch
        s = self.net(x).log_softmax(1)
        return -s.gather(1, y.unsqueeze(1)).mean()


def test_lightning_says_that_it_saw_no_loss(tmp_path):
    with pytest.warns(ls.LosscopeWarning, match="saw no loss"):
        fit(ByHand(), WatchLoss(), tmp_path, limit_train_batches=3)


def test_a_wrong_option_is_said_at_once():
    with pytest.raises(ls.InputError, match="no-such-rule"):
        WatchLoss(select=["no-such-rule"])


# ---------------------------------------------------------------------------------------------- transformers

transformers = pytest.importorskip("transformers", exc_type=ImportError)
pytest.importorskip("accelerate", exc_type=ImportError)
from losscope.integrations.transformers import WatchLoss as WatchTrainer  # noqa: E402


class Samples(torch.utils.data.Dataset):
    """Dictionaries, as the Trainer takes them."""

    def __init__(self, **columns):
        self.columns = columns

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, i):
        return {name: column[i] for name, column in self.columns.items()}


def language_model():
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = transformers.LlamaConfig(vocab_size=28, num_key_value_heads=2, max_position_embeddings=32, **sizes, **ids)
    return transformers.LlamaForCausalLM(config)


def sentence_classifier(classes):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=28, num_labels=classes, max_position_embeddings=32, **sizes)
    return transformers.BertForSequenceClassification(config)


def train(model, samples, tmp_path, *, callback, **options):
    arguments = {"max_steps": 4, "per_device_train_batch_size": 32, "learning_rate": 1e-3, **options}
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        **arguments,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=samples, callbacks=[callback])
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()


def words(padding):
    """Words of letters, with the padding as a label that does not count, or as one that does."""
    ids = data.sentences()
    return Samples(
        input_ids=ids, attention_mask=(ids != 0).long(), labels=ids if padding else ids.masked_fill(ids == 0, -100)
    )


def told(model, samples, tmp_path, **options):
    found = []
    train(model, samples, tmp_path, callback=WatchTrainer(on_finding=found.append), **options)
    return [f.rule for f in found if f.severity != "info"]


def test_transformers_tells_of_padding_that_counts(tmp_path):
    assert told(language_model(), words(padding=True), tmp_path) == ["padding-counted"]


def test_transformers_is_silent_on_a_healthy_language_model(tmp_path):
    samples = words(padding=False)
    train(language_model(), samples, tmp_path, callback=WatchTrainer(every=5), max_steps=40)
    assert told(language_model(), samples, tmp_path, gradient_accumulation_steps=2) == []


def test_transformers_is_silent_on_a_healthy_classifier(tmp_path):
    ids = data.sentences()[:, :-1]
    samples = Samples(input_ids=ids, attention_mask=(ids != 0).long(), labels=(ids != 0).sum(1) % 3)
    train(sentence_classifier(3), samples, tmp_path, callback=WatchTrainer(every=5), max_steps=40)


def test_transformers_tells_of_all_labels_ignored(tmp_path):
    """A response template that is never found leaves no label."""
    ids = data.sentences()
    samples = Samples(input_ids=ids, attention_mask=(ids != 0).long(), labels=torch.full_like(ids, -100))
    assert "nothing-counts" in told(language_model(), samples, tmp_path)


def test_transformers_tells_of_labels_out_of_range_and_leaves_no_mode(tmp_path):
    ids = data.sentences()[:, :-1]
    samples = Samples(input_ids=ids, attention_mask=(ids != 0).long(), labels=1 + (ids != 0).sum(1) % 3)
    model = sentence_classifier(3)
    with pytest.warns(FindingWarning, match="target-out-of-range"), pytest.raises(IndexError):
        train(model, samples, tmp_path, callback=WatchTrainer())
    assert torch.overrides._get_current_function_mode_stack() == []


class SoftmaxInside(nn.Module):
    """A model of one's own for the Trainer, with a loss module and a softmax before it."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(models.perceptron(64, 10), nn.Softmax(1))
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x, labels):
        z = self.net(x)
        return {"loss": self.loss(z, labels), "logits": z}


def test_transformers_with_a_loss_module(tmp_path):
    x, y = data.table("digits")
    model = SoftmaxInside()
    assert "softmax-before-cross-entropy" in told(model, Samples(x=x, labels=y), tmp_path)
    assert not model.loss._forward_hooks
    assert not model._forward_hooks


def test_transformers_says_that_it_saw_no_loss(tmp_path):
    """The Trainer's own label smoothing is a formula outside of the model."""
    with pytest.warns(ls.LosscopeWarning, match="saw no loss"):
        train(language_model(), words(padding=False), tmp_path, callback=WatchTrainer(), label_smoothing_factor=0.1)
