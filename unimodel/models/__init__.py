"""Models that everybody knows, each in one file over ``um.nn`` and ``um.ops``, with the state-dict keys of its best-known PyTorch implementation."""

from unimodel.models.bert import BertModel
from unimodel.models.bert_masked_lm import BertForMaskedLM
from unimodel.models.convnext import ConvNeXt, convnext_tiny
from unimodel.models.dcgan import DCGANDiscriminator, DCGANGenerator
from unimodel.models.dlrm import DLRM
from unimodel.models.generation import generate
from unimodel.models.gpt2 import GPT2LMHeadModel
from unimodel.models.lenet import LeNet5
from unimodel.models.llama import LlamaForCausalLM
from unimodel.models.lstm import LSTMLanguageModel
from unimodel.models.mlp import MLP
from unimodel.models.mobilenetv2 import MobileNetV2, mobilenet_v2
from unimodel.models.resnet import ResNet, resnet18, resnet50
from unimodel.models.seq2seq import Seq2SeqTransformer
from unimodel.models.unet import UNet
from unimodel.models.vae import VAE, vae_loss
from unimodel.models.vit import ViTForImageClassification
from unimodel.models.weights import load_weights
from unimodel.names import missing

__all__ = [
    "DLRM",
    "MLP",
    "VAE",
    "BertForMaskedLM",
    "BertModel",
    "ConvNeXt",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "GPT2LMHeadModel",
    "LSTMLanguageModel",
    "LeNet5",
    "LlamaForCausalLM",
    "MobileNetV2",
    "ResNet",
    "Seq2SeqTransformer",
    "UNet",
    "ViTForImageClassification",
    "convnext_tiny",
    "generate",
    "load_weights",
    "mobilenet_v2",
    "resnet18",
    "resnet50",
    "vae_loss",
]

__getattr__ = missing("um.models")
